"""`output.schema: module:Model` takes the JSON schema of a Python type of the project."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary, load_spec
from runner.errors import InputError
from tests.support.outputs import records
from tests.support.projects import write_job

MODULE = """
from enum import Enum
from typing import Annotated, Literal, Optional, Union

from pydantic import BaseModel, Field


class Kind(str, Enum):
    bug = "bug"
    billing = "billing"


class Cat(BaseModel):
    sort: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    sort: Literal["dog"]
    tricks: list[str] = Field(max_length=3, description="What it can do")


class Ticket(BaseModel):
    kind: Kind = Field(description="What it is about")
    stars: Annotated[int, Field(ge=1, le=5)]
    due: Optional[str] = Field(None, pattern=r"^\\d{4}-\\d{2}$")
    span: tuple[int, int]
    pet: Union[Cat, Dog] = Field(discriminator="sort")


TREE = {"type": "object", "properties": {"n": {"type": "integer"}}}
broken = object()


class Failing:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_):
        raise RuntimeError("no luck")
"""


def write_model_job(root: Path, module: str, reference: str) -> Path:
    (root / f"{module}.py").write_text(MODULE)
    return write_job(root, output={"schema": reference})


def test_pydantic_model_is_asked_for_and_validated(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_model_job(tmp_path, "ticket_models", "ticket_models:Ticket")
    assert run_job().outcomes == {"succeeded": 20}
    body = next((tmp_path / ".runner/runs").glob("*/bodies/1-1.json"))
    sent = json.loads(body.read_text())["requests"][0]["params"]["output_config"]["format"]["schema"]
    assert sent["properties"]["stars"]["description"] == '{"maximum": 5, "minimum": 1}'
    assert sent["properties"]["kind"]["description"] == "What it is about"
    found = [one["output"] for one in records(tmp_path / "out/all.jsonl")]
    assert all(len(one["span"]) == 2 and one["kind"] in ("bug", "billing") for one in found)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_models:Ticket", "output.schema: cannot import no_such_models: ModuleNotFoundError: "),
        ("other_models:Tikcet", "output.schema: other_models has no Tikcet"),
        ("other_models:broken", "output.schema: broken has no JSON schema: "),
        ("other_models:Failing", "output.schema: Failing has no JSON schema: RuntimeError: no luck"),
    ],
)
def test_type_without_a_schema_is_an_error(tmp_path: Path, reference: str, message: str) -> None:
    path = write_model_job(tmp_path, "other_models", reference)
    with pytest.raises(InputError) as caught:
        load_spec(path)
    [problem] = caught.value.problems
    assert (problem.message.startswith(message), problem.line) == (True, 1)


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        ("exiting", "raise SystemExit(3)", "cannot import exiting: SystemExit: 3"),
        ("pathless", "import sys\nsys.path.clear()", "pathless has no Ticket"),
        ("yaml", MODULE, "yaml is already the name of another module, "),
    ],
)
def test_module_that_cannot_be_used_is_named(tmp_path: Path, module: str, text: str, message: str) -> None:
    path = write_model_job(tmp_path, module, f"{module}:Ticket")
    (tmp_path / f"{module}.py").write_text(text)
    with pytest.raises(InputError, match=f"output.schema: {message}"):
        load_spec(path)


def test_modules_of_two_projects_can_have_the_same_name(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = write_model_job(tmp_path / name, "same_models", "same_models:Own")
        text = f"from pydantic import BaseModel\n\nclass Own(BaseModel):\n    {name}: int\n"
        (tmp_path / name / "same_models.py").write_text(text)
        found.append((load_spec(path).output.schema or {})["required"])
    assert found == [["one"], ["two"]]


def test_what_a_module_prints_is_no_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_model_job(tmp_path, "printing_models", "printing_models:Ticket")
    (tmp_path / "printing_models.py").write_text(f"{MODULE}\nprint('imported')\n")
    load_spec(path)
    assert capfd.readouterr() == ("", "imported\n")
