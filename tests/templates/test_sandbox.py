"""Templates cannot leave the sandbox or the folder of prompts."""

import re
from pathlib import Path

import pytest

from runner.errors import InputError
from tests.support.prompts import line_of, render_user_prompt, write_templates


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ a|map('upper') }}", "add |list"),
        ("{{ a[0].upper }}", "a function: call it"),
        ("{{ row.get }}", "a function: call it"),
        ("{{ range }}", "a function: call it"),
        ("{% macro f() %}x{% endmacro %}{{ f }}", "a function: call it"),
        ("{{ [a[0].upper] }}", "a function: call it"),
        ("{{ {'x': a|map('upper')} }}", "add |list"),
        ("{{ row.keys() }}", "add |list"),
        ("{{ range(3) }}", "add |list"),
        ("{{ [[row.zz]] }}", "undefined"),
        ("{{ a|map(attribute='typo')|list }}", "undefined"),
    ],
)
def test_python_object_text_is_never_sent(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=re.escape(why)):
        render_user_prompt(write_templates(tmp_path, text), a=["x"])


@pytest.mark.parametrize(
    "text",
    [
        "{{ a.__class__ }}",
        "{{ a|attr('__class__') }}",
        "{{ '{0.__class__}'.format(a) }}",
        "{{ '{a.__class__}'.format_map(row) }}",
        "{% set f = '{0.__class__}'.format %}{{ f(a) }}",
        "{{ [a]|map(attribute='__class__')|first }}",
        "{{ row.update({'a': 1}) }}",
        "{{ row.clear() }}",
        "{{ v.append(1) }}",
        "{{ cycler('x') }}",
        "{{ lipsum() }}",
    ],
)
def test_templates_cannot_leave_the_sandbox_nor_change_data(tmp_path: Path, text: str) -> None:
    found = write_templates(tmp_path, text, v=[0])
    with pytest.raises(InputError):
        render_user_prompt(found, a="A")
    assert found.spec.vars == {"v": [0]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret.j2", "../secret.j2 is outside prompts/"),
        ("/secret.j2", "/secret.j2 is outside prompts/"),
        ("deep/../../secret.j2", "deep/../../secret.j2 is outside prompts/"),
        ("link.j2", "link.j2 is outside prompts/"),
        ("linked/secret.j2", "linked/secret.j2 is outside prompts/"),
        ("unusd.j2", "no template prompts/unusd.j2: did you mean 'unused.j2'?"),
        ("folder.j2", "no template prompts/folder.j2: expected one of: "),
    ],
)
@pytest.mark.parametrize("is_included", [False, True], ids=["named", "included"])
def test_template_outside_prompts_is_not_read(tmp_path: Path, name: str, message: str, is_included: bool) -> None:
    (tmp_path / "secret.j2").write_text("secret")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "link.j2").symlink_to(tmp_path / "secret.j2")
    (tmp_path / "prompts" / "linked").symlink_to(tmp_path)
    (tmp_path / "prompts" / "folder.j2").mkdir()
    files = {"x.j2": f"\n{{% include {name!r} %}}"}
    with pytest.raises(InputError) as caught:
        write_templates(tmp_path, "x.j2" if is_included else name, files)
    place = "prompts/x.j2:2: " if is_included else f"t.yaml:{line_of('user', tmp_path)}:"
    assert place in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("name", ["prompt.system", "<prompt.system>"])
def test_an_inline_template_cannot_be_included(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        write_templates(tmp_path, {"system": "S", "user": f"{{% include '{name}' %}}"})
    (problem,) = caught.value.problems
    assert name in problem.message and problem.line == line_of("include", tmp_path)


def test_a_link_that_stays_in_prompts_is_followed(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "link.j2").symlink_to("unused.j2")
    assert render_user_prompt(write_templates(tmp_path, "link.j2")) == "nobody reads me"
