"""Servers on loopback that tests talk to: PostgreSQL and MariaDB where they are installed, and files over HTTP."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import sqlalchemy as sa

from tests.support.projects import SPEC, write_job


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs: on the path, or where Debian has them."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def postgres() -> Iterator[str]:
    """A server with an empty database; yield its URL. The test is skipped where the programs are absent."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    # The server refuses to be root.
    own: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="runner-postgres-")), _port()
    if own:
        shutil.chown(folder, "postgres", "postgres")

    def call(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, cwd=folder, **own)

    data = str(folder / "data")
    call(str(programs / "initdb"), "-D", data, "-U", "tester", "-A", "trust", "-N", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = str(programs / "pg_ctl")
    call(control, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://tester:secret@127.0.0.1:{port}/postgres"
    finally:
        call(control, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@contextmanager
def mariadb() -> Iterator[str]:
    """A MariaDB server with an empty database; yield its URL. The test is skipped where it is absent."""
    install, serve = shutil.which("mariadb-install-db"), shutil.which("mariadbd", path=f"{os.defpath}:/usr/sbin")
    if install is None or serve is None:
        pytest.skip("MariaDB is not installed")
    folder, port = Path(tempfile.mkdtemp(prefix="runner-mariadb-")), _port()
    own = ["--no-defaults", f"--datadir={folder}/data", *(["--user=root"] if os.geteuid() == 0 else [])]
    subprocess.run([install, *own, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    with (folder / "log").open("wb") as log:
        words = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket"]
        server = subprocess.Popen([serve, *own, *words], stdout=log, stderr=log)
    try:
        url = f"mysql+pymysql://root@127.0.0.1:{port}"
        _when_up(url, server)
        yield f"{url}/test"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _when_up(url: str, server: subprocess.Popen[bytes]) -> None:
    """Make the database `test` once the server answers."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    while True:
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE DATABASE IF NOT EXISTS test")
            return
        except sa.exc.OperationalError:
            assert server.poll() is None
            time.sleep(0.1)


class _Quiet(SimpleHTTPRequestHandler):
    def send_head(self) -> Any:
        """A file, or a redirect from below `/to/` to above it."""
        if not self.path.startswith("/to/"):
            return super().send_head()
        self.send_response(302)
        self.send_header("Location", self.path.removeprefix("/to"))
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def web(folder: Path) -> Iterator[str]:
    """A web server that serves the files of a folder; yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def s3(port: int = 0) -> Iterator[str]:
    """A server of S3, by default at any free port; yield its URL. The test is skipped where moto is absent."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def database_server(name: str, root: Path) -> Iterator[str]:
    """The URL of an empty database."""
    (root / "out").mkdir()
    if name == "sqlite":
        yield f"sqlite:///{root}/out/o.db"
        return
    with {"mariadb": mariadb, "postgres": postgres}[name]() as url:
        yield url


NewDatabase = Callable[[str], AbstractContextManager[str]]
"""A function that gives the URL of an empty database of a kind."""


@contextmanager
def database_of_server(url: str) -> Iterator[str]:
    """The URL of an empty database on a server of PostgreSQL that runs already."""
    name = f"database_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield f"{url.rpartition('/')[0]}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def query_server(url: str, *statements: str) -> Sequence[Any]:
    """The rows of the last statement."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.pool.NullPool)
    found: Sequence[Any] = []
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
            found = result.fetchall() if result.returns_rows else []
    return found


def write_table(root: Path, url: str, rows: list[dict[str, Any]], **sink: Any) -> None:
    """A job with these rows, which are written to the table `t`."""
    names = [name for name in rows[0] if name != "id"]
    columns = {"id": "key", **{name: f"row.{name}" for name in names}}
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_job(
        root,
        source={"type": "jsonl", "path": "rows.jsonl", "key": "id"},
        prompt={"user": "{{ id }}"},
        batch={**SPEC["batch"], "max_requests": 10_000},
        sinks=[{"type": "sql", "url": url, "table": "t", "key": "id", "columns": columns, **sink}],
    )


def psql_variables(url: str) -> dict[str, str]:
    """The variables by which PostgreSQL's own programs find a database."""
    at = sa.make_url(url)
    parts = {
        "HOST": at.host,
        "PORT": at.port,
        "USER": at.username,
        "PASSWORD": at.password,
        "DATABASE": at.database,
    }
    return {f"PG{name}": str(value) for name, value in parts.items()}


def rows_of(url: str, table: str = "t") -> list[tuple[Any, ...]]:
    driver = url.replace("postgresql:", "postgresql+psycopg:")
    with sa.create_engine(driver, poolclass=sa.pool.NullPool).connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on loopback in threads, and print no requests; yield the URL."""
    handler.log_message = lambda *_: None  # type: ignore[method-assign]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a caller may have gone
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Posted(NamedTuple):
    """A request by POST; the names of its headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A server that takes requests by POST: those that it got, and the status that it answers.

    As long as `is_hanging` is set, it does not answer.
    """

    status: int = 204
    url: str = ""
    got: list[Posted] = field(default_factory=list)
    is_hanging: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiving(receiver: Receiver, *, path: str = "") -> Iterator[None]:
    """Let a receiver take requests on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            while receiver.is_hanging.is_set():
                time.sleep(0.02)
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append(Posted(self.path, headers, body))
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

    with serving(Handler) as url:
        receiver.url = f"{url}{path}"
        try:
            yield
        finally:
            receiver.is_hanging.clear()


class Webhook(Receiver):
    """A receiver of webhooks."""

    def names(self) -> list[str]:
        """The events that it got, in their order."""
        return [json.loads(one.body)["type"] for one in self.got]

    def ids(self) -> list[str]:
        """The ids of what it got."""
        return [one.headers["webhook-id"] for one in self.got]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A receiver of webhooks on loopback."""
    hook = Webhook()
    with receiving(hook, path="/hooks/T0PSECRET"):
        yield hook


@dataclass
class Proxy:
    """A proxy in front of an API, below the path `prefix` of its URL: the requests that it got, oldest first."""

    url: str = ""
    prefix: str = ""
    got: list["Received"] = field(default_factory=list)


class Received(NamedTuple):
    """A request as it came over the wire; names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@contextmanager
def proxy(upstream: str, prefix: str = "", removed: Sequence[str] = ()) -> Iterator[Proxy]:
    """A proxy on loopback that passes requests on to the URL `upstream`, without its prefix.

    It removes some headers from answers.
    """
    made = Proxy(prefix=prefix)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.got.append(Received(self.command, self.path, headers, body))
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            connection = http.client.HTTPConnection(upstream.removeprefix("http://"))
            connection.request(self.command, self.path.removeprefix(prefix), body, headers)
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in removed:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_DELETE = do_GET  # noqa: N815

    with serving(Handler) as url:
        made.url = f"{url}{prefix}"
        yield made
