"""The simulator counts documents and images as a plan does."""

from pathlib import Path
from typing import Any

import pytest

from runner import load_spec, plan, run
from runner.simulator.messages import count_tokens
from tests.support.files import image, pdf
from tests.support.projects import UNLABELED_SINKS, write_job

PAGES = (1, 10, 40)
ANY_ANSWER: dict[str, Any] = {"sinks": UNLABELED_SINKS, "output": {"parse": "lines"}}


@pytest.mark.parametrize("upload", [False, True], ids=["inline", "uploaded"])
def test_simulated_run_costs_what_its_plan_says_for_pdfs(tmp_path: Path, upload: bool) -> None:
    (tmp_path / "in").mkdir()
    for pages in PAGES:
        (tmp_path / "in" / f"{pages}.pdf").write_bytes(pdf(pages, size=50_000))
    block: dict[str, Any] = {"type": "document", "path": "{{ path }}", **({"upload": True} if upload else {})}
    source = {"type": "files", "path": "in/*.pdf", "key": "name"}
    path = write_job(
        tmp_path, source=source, prompt={"user": [block]}, sinks=UNLABELED_SINKS, output={"parse": "lines"}
    )
    planned = [plan(load_spec(path), offline=offline, simulate=True).input_tokens for offline in (True, False)]
    counted = run(load_spec(path), simulate=True).usage["input_tokens"]
    assert counted == pytest.approx(sum(PAGES) * 8000 / 3.1, rel=0.02)
    assert [one["value"] for one in planned] == [pytest.approx(counted, rel=0.02)] * 2


def test_image_counts_as_in_a_plan(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image(900, 900))
    block = {"type": "image", "path": "{{ path }}"}
    source = {"type": "files", "path": "*.png", "key": "name"}
    path = write_job(
        tmp_path, source=source, prompt={"user": [block]}, sinks=UNLABELED_SINKS, output={"parse": "lines"}
    )
    planned = plan(load_spec(path), offline=True).input_tokens["value"]
    assert run(load_spec(path), simulate=True).usage["input_tokens"] == pytest.approx(planned, rel=0.1)


def test_long_word_in_a_text_is_no_document() -> None:
    raw = b'{"model":"m","messages":[{"role":"user","content":"%b"}]}' % (b"A" * 400)
    assert count_tokens(raw) < 150
