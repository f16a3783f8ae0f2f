"""The simulator's faults: each happens as often as asked, the same way for the same seed, and is recorded."""

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runner.simulator.fault_list import FAULTS
from runner.simulator.faults import Faults
from runner.simulator.server import serve

BODY = json.dumps(
    {
        "requests": [
            {
                "custom_id": f"run-1-1-{number}",
                "params": {
                    "model": "claude-haiku-4-5",
                    "max_tokens": 9,
                    "messages": [{"role": "user", "content": "Hello there"}],
                },
            }
            for number in range(1, 7)
        ]
    }
)
LIMITS = {"max-requests": "5", "max-bytes": "100", "max-queue": "5", "refused-row": "3"}
LIMITS |= {"refused-unnamed-row": "3", "count-added": "100%", "ended-ahead": "100%"}
MESSAGE = json.dumps(json.loads(BODY)["requests"][0]["params"])


def call(
    url: str, method: str, path: str, body: str = "", *, at: str = "/v1/messages/batches"
) -> tuple[int, bytes]:
    """The status and bytes of an answer, however it ends; 0 if there is none."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request(method, f"{at}{path}", body, {"authorization": "Bearer x"})
        response = connection.getresponse()
        try:
            return response.status, response.read()
        except http.client.IncompleteRead as error:
            return response.status, error.partial
    except (ConnectionError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def exchange(folder: Path, *faults: str) -> tuple[object, ...]:
    """A client's view of one batch from its creation to its results, without ids and times."""
    now = [1_790_000_000.0]
    with serve(folder, seconds=10, faults=faults, fault_delay=0.3, clock=lambda: now[0]) as url:
        created, answer = call(url, "POST", "", BODY)
        listed = json.loads(call(url, "GET", "?limit=9")[1] or b"{}") if created else {}
        now[0] += 1
        later = json.loads(call(url, "GET", "?limit=9")[1])["data"]
        status = [(batch["processing_status"], batch["request_counts"]["processing"]) for batch in later]
        now[0] += 60
        at = f"/{later[-1]['id']}" if later else "/none"
        retrieved, shown = call(url, "GET", at)
        downloaded, lines = call(url, "GET", f"{at}/results")
        answered = call(url, "POST", "", MESSAGE, at="/v1/messages")
        counted, _ = call(url, "POST", "/count_tokens", MESSAGE, at="/v1/messages")
        second = json.loads(call(url, "POST", "", BODY)[1] or b"{}").get("id") if created == 200 else None
        call(url, "POST", f"/{second}/cancel")
        now[0] += 60
        canceled = json.loads(call(url, "GET", f"/{second}")[1] or b"{}").get("request_counts")
        at_last = json.loads(call(url, "GET", "?limit=9")[1])["data"]
        ended_at = json.loads(shown).get("ended_at") or ""
        seen = json.loads(shown).get("request_counts") if retrieved == 200 else None
        kinds = sorted(line.partition(b'"result":')[2][:40] for line in lines.splitlines())
        return (
            created,
            answer[-20:] if answer[-1:] != b"}" else b"JSON",
            len(listed.get("data", ())),
            status,
            retrieved,
            downloaded,
            seen,
            ended_at[:4],
            len(lines),
            kinds,
            (answered[0], answered[1][:9], answered[1][-3:]),
            counted,
            canceled,
            [(one["id"] == second, len(one["request_counts"])) for one in at_last],
        )


def test_every_fault_has_an_effect(tmp_path: Path) -> None:
    undisturbed = exchange(tmp_path / "undisturbed")
    assert undisturbed[0] == undisturbed[4] == undisturbed[5] == 200
    for name in FAULTS.keys() - {"date-ahead", "date-behind"}:
        written = f"{name}:{LIMITS[name]}" if name in LIMITS else name
        assert exchange(tmp_path / name, written) != undisturbed, name


def test_a_fault_happens_as_often_as_asked_and_is_recorded(tmp_path: Path) -> None:
    with serve(tmp_path, faults=["retrieve-404:2", "accept-then-500:1"]) as url:
        assert [call(url, "POST", "", BODY)[0] for _ in range(2)] == [500, 200]
        [first, _] = json.loads(call(url, "GET", "")[1])["data"]
        assert [call(url, "GET", f"/{first['id']}")[0] for _ in range(3)] == [404, 404, 200]
    recorded = [json.loads(line)["fault"] for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert recorded == ["accept-then-500", "retrieve-404", "retrieve-404"]


def test_a_seed_decides_which_chances_strike() -> None:
    def drawn(seed: int) -> list[bool]:
        faults = Faults(["errored:30%"], seed=seed)
        return [faults.fires("errored") for _ in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 30 < sum(drawn(1)) < 90


@pytest.mark.parametrize("written", ["nonsense", "drop:", "drop:x", "drop:1.5", "drop:-1", ""])
def test_unknown_fault_is_an_error(written: str) -> None:
    with pytest.raises(ValueError, match=r"not a known fault|whole number"):
        Faults([written])


def test_date_header_can_be_ahead(tmp_path: Path) -> None:
    with serve(tmp_path, faults=["date-ahead:86400"], clock=lambda: 0.0) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
        connection.request("GET", "/v1/messages/batches", headers={"authorization": "Bearer x"})
        assert connection.getresponse().headers["date"] == "Fri, 02 Jan 1970 00:00:00 GMT"
        connection.close()
