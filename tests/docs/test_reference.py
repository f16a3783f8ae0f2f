"""The reference of spec files is up to date."""

from tests.docs.reference import reference
from tests.support.paths import ROOT


def test_reference_is_up_to_date_with_the_schema() -> None:
    assert (ROOT / "specs" / "REFERENCE.md").read_text("utf-8") == reference()
