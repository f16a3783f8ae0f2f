"""Findings as JSON, for editors and CI: the same fields for `validate` and `doctor`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runner.cli.texts.excerpt import locate_problem
from runner.errors import Problem
from runner.rules.finding import Finding


def _find_remedy(finding: Finding) -> str:
    """Return what to do about a finding: its own remedy, or else the general one of its rule or check."""
    from runner.rules.explain.explain import explain_rule

    return finding.remedy or explain_rule(finding.rule).remedy


def finding_to_json(finding: Finding, roots: Iterable[Path] = ()) -> dict[str, Any]:
    """Return the fields of a finding: file, line, column, rule, severity, message and remedy.

    `file` is relative to the working folder. A finding about no file, line or column has null there.
    """
    place = Problem(finding.path, finding.message, finding.line, finding.column, finding.remedy)
    located = locate_problem(place, roots)
    return {
        "file": located.path or None,
        "line": located.line or None,
        "column": located.column or None,
        "rule": finding.rule,
        "severity": finding.severity,
        "message": finding.message,
        "remedy": _find_remedy(finding),
    }
