"""Measure whether memory grows with the documents: `python -m tests.benchmarks.documents [FILES] [KILOBYTES]`.

Makes FILES PDFs of KILOBYTES each, of which every hundredth has more pages than the API takes, and sends them to
the simulator; FILES must be thousands. Prints the runner's peak memory for a tenth of them and for all, and its
disk besides results. With `--upload` they go through the Files API.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from runner import load_spec, run
from tests.support.files import pdf
from tests.support.projects import SPEC
from tests.support.simulator import simulator

MAX_BYTES = 50_000_000


class Figures(NamedTuple):
    """Figures of a run: peak memory in MB, CPU seconds, and how its rows ended."""

    megabytes: float
    seconds: float
    outcomes: dict[str, int]


def write_project(root: Path, files: int, size: int, *, upload: bool) -> None:
    """PDFs of `size` bytes, each different, and a spec that sends them."""
    (root / "scans").mkdir()
    (root / "prompts").mkdir()
    for number in range(files):
        pages = 601 if number % 100 == 99 else 1 + number % 5
        (root / "scans" / f"{number:06}.pdf").write_bytes(pdf(pages, size=size, text=f"Invoice {number}"))
    document = {"type": "document", "path": "{{ path }}", "upload": upload}
    user = [document, {"type": "text", "text": "Label it."}]
    spec = {
        **SPEC,
        "source": {"type": "files", "path": "scans/*.pdf", "key": "name"},
        "prompt": {"user": user},
        "batch": {"max_bytes": MAX_BYTES, "poll_seconds": 0.2},
    }
    (root / "job.yaml").write_text(json.dumps(spec))


def _measured(root: Path, environ: Mapping[str, str]) -> Figures:
    os.environ.update(environ)
    summary = run(load_spec(root / "job.yaml"), consent=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Figures(used.ru_maxrss / 1000, used.ru_utime + used.ru_stime, summary.outcomes)


def measure(files: int, size: int, *, upload: bool) -> tuple[Figures, int]:
    """The figures of a run on so many files, in a process of its own; bytes on disk besides results."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_project(root, files, size, upload=upload)
        context = multiprocessing.get_context("spawn")
        with simulator(root / "api") as environ, ProcessPoolExecutor(1, mp_context=context) as pool:
            figures = pool.submit(_measured, root, environ).result()
        files_of_state = (path for path in root.glob(".runner/**/*") if path.is_file())
        stored = sum(path.stat().st_size for path in files_of_state if path.parent.name != "results")
        assert figures.outcomes == {"succeeded": files - files // 100, "rejected": files // 100}, figures.outcomes
        return figures, stored


def main() -> None:
    """Measure a tenth of the files, then all; print both beside each other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="?", type=int, default=2_000)
    parser.add_argument("kilobytes", nargs="?", type=int, default=200)
    parser.add_argument("--upload", action="store_true")
    given = parser.parse_args()
    begun = time.monotonic()
    for count in (given.files // 10, given.files):
        figures, stored = measure(count, given.kilobytes * 1_000, upload=given.upload)
        print(
            f"{count:,} PDFs of {given.kilobytes} kB: peak {figures.megabytes:.0f} MB, "
            f"{figures.seconds / count * 1000:.1f} CPU ms each, {stored / 1e6:.1f} MB on disk besides results, "
            f"{figures.outcomes}",
            flush=True,
        )
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
