"""Compare the variants of a spec on the same rows: which answers are right, what they cost, which one to take."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

from runner.evaluation.metrics import mcnemar_p
from runner.evaluation.score import Score
from runner.lifecycle.deliver.row_results import read_row_results, recorded_output_format
from runner.lifecycle.judge.run_judge import RunJudge, open_judge
from runner.lifecycle.validate.checks import load_spec_or_report
from runner.pricing.rates import Rate, rate_for_spec
from runner.results.outcome import Outcome
from runner.results.usage import parse_usage
from runner.runs.find import RunInfo, find_runs_of, open_run
from runner.runs.snapshot import read_snapshot
from runner.spec.record import spec_from_record
from runner.spec.spec import Spec
from runner.store.records import Run
from runner.store.run_folder import FileSlices, open_slices
from runner.store.store import Store

SIGNIFICANCE = 0.05
"""The probability of a difference by chance, below which a variant counts as worse."""

VALID = "valid answers"
"""The criterion beside the evaluations of the spec."""

_MISSING = Outcome("", "missing")


@dataclass(frozen=True, slots=True)
class Contrast:
    """A variant beside the best one of a criterion, which is `VALID` or an evaluation.

    `only_best` rows are right only in the `best` variant, and `only_own` rows only in this one. `p` is the
    probability of such a difference by chance.
    """

    criterion: str
    best: str
    only_best: int
    only_own: int
    p: float

    @property
    def is_worse(self) -> bool:
        """True if the best variant is certainly better."""
        return self.p < SIGNIFICANCE


@dataclass(frozen=True, slots=True)
class ComparedVariant:
    """A variant with its newest finished run.

    `cost_per_thousand` is what the answers to 1,000 rows cost in US dollars, also those that were taken over: at
    the price of batches, or that of synchronous requests with `mode: sync`. It is None if no price is known.
    """

    variant: str
    run: str
    model: str
    rows: int
    succeeded: int
    evaluation: list[Score]
    cost_per_thousand: float | None
    contrasts: list[Contrast]

    @property
    def is_worse(self) -> bool:
        """True if another variant is certainly better in a criterion."""
        return any(one.is_worse for one in self.contrasts)


@dataclass(frozen=True, slots=True)
class VariantComparison:
    """The variants of a spec on the same rows, in the order of the spec.

    `choice` is the cheapest one that is not worse than another, or None if each is, or if a cost is unknown.
    `left_out` says by variant why it is not compared. There are no `variants` if no two have the same rows.
    """

    spec: str
    rows: int
    variants: list[ComparedVariant]
    choice: str | None
    left_out: dict[str, str]
    is_simulated: bool
    is_pilot: bool = False


def compare_variants(
    specs: Sequence[Spec], *, is_pilot: bool = False, is_simulated: bool | None = None
) -> VariantComparison | None:
    """Compare the newest finished runs of the variants of a spec, or its pilots; None if fewer than two have one.

    `specs` are the variants. If it is not given whether the runs are simulated ones, the newest decides. Raises
    StateError if the files of a run are damaged.
    """
    found, left_out = _choose_runs(specs, is_pilot=is_pilot, is_simulated=is_simulated)
    if len(found) < 2:
        return None
    with ExitStack() as stack:
        files = stack.enter_context(open_slices())
        opened = [_open(stack, files, spec, info) for spec, info in found]
        newest = max(opened, key=lambda one: one.run.number)
        same = [one for one in opened if one.run.rows_sha256 == newest.run.rows_sha256]
        left_out.update(
            (one.name, f"its rows are not those of {newest.name}") for one in opened if one not in same
        )
        tallies = _read_all(same) if len(same) > 1 else {}
    variants = [_describe(one, same, tallies) for one in same] if tallies else []
    choice, is_simulated = _choose(variants), found[0][1].is_simulated
    return VariantComparison(specs[0].job, newest.run.rows, variants, choice, left_out, is_simulated, is_pilot)


def compare_with_variants(run: Run, spec_path: Path, *, is_simulated: bool) -> VariantComparison | None:
    """Compare the variants of the file of a run as `compare_variants` does; None if this run is not among them.

    Raises InputError for mistakes in the file.
    """
    variants = load_spec_or_report(spec_path).variants
    specs = [load_spec_or_report(spec_path, variant=name) for name in variants]
    found = compare_variants(specs, is_pilot=run.is_pilot, is_simulated=is_simulated) if variants else None
    return found if found is not None and any(one.run == run.id for one in found.variants) else None


def _choose_runs(
    specs: Sequence[Spec], *, is_pilot: bool, is_simulated: bool | None
) -> tuple[list[tuple[Spec, RunInfo]], dict[str, str]]:
    """Return the newest finished run of each variant, and why others have none."""
    runs = [run for spec in specs for run in find_runs_of(spec.root, spec.name) if run.is_pilot == is_pilot]
    if is_simulated is None:
        is_simulated = bool(runs) and max(runs, key=lambda one: one.ended_at).is_simulated
    found, left_out = list[tuple[Spec, RunInfo]](), dict[str, str]()
    for spec in specs:
        own = [one for one in runs if one.is_simulated == is_simulated and one.summary.spec == spec.name]
        own = [one for one in own if one.summary.state in ("running", "finished")]
        if (reason := _find_hindrance(own)) is None:
            found.append((spec, own[0]))
        else:
            left_out[str(spec.variant)] = reason
    return found, left_out


def _find_hindrance(runs: Sequence[RunInfo]) -> str | None:
    """Return why the newest of the runs of a variant cannot be compared, or None."""
    if not runs:
        return "it has no run"
    if runs[0].summary.state != "finished":
        return f"run {runs[0].summary.run} is unfinished"
    return f"the rows of run {runs[0].summary.run} were purged" if runs[0].is_purged else None


@dataclass(slots=True)
class _Reading:
    """The run of a variant while its rows are read."""

    spec: Spec
    store: Store
    run: Run
    rate: Rate | None
    judge: RunJudge | None
    files: FileSlices
    succeeded: int = 0
    cost: float = 0.0

    @property
    def name(self) -> str:
        return str(self.spec.variant)

    def judge_rows(self) -> Iterator[dict[str, bool]]:
        """Yield of each row, by criterion, if its answer is right; without a label it is."""
        output_format = recorded_output_format(self.store, self.run)
        names = [one.name for one in self.spec.evaluate]
        for found in read_row_results(self.store, self.run, output_format, self.files):
            outcome = found.outcome or _MISSING
            is_valid = outcome.outcome == "succeeded"
            self.succeeded += is_valid
            self._add_cost(outcome)
            wrong = self.judge(found, outcome) if self.judge is not None else {}
            yield {VALID: is_valid, **{name: name not in wrong for name in names}}

    def _add_cost(self, outcome: Outcome) -> None:
        if self.rate is not None and outcome.usage is not None:
            usage = parse_usage(outcome.usage)
            full = self.rate.synchronous_cost(usage)
            self.cost += full if self.spec.mode == "sync" else self.rate.apply_batch_discount(full, usage)


def _open(stack: ExitStack, files: FileSlices, spec: Spec, info: RunInfo) -> _Reading:
    store, run = stack.enter_context(open_run(info, lock=False))
    recorded = spec_from_record(read_snapshot(store, run).record, path=spec.path, root=spec.root)
    judge = stack.enter_context(open_judge(store, run, spec_path=Path(spec.path))) if spec.evaluate else None
    return _Reading(spec, store, run, rate_for_spec(recorded), judge, files)


@dataclass(slots=True)
class _Tally:
    """Counts, for one criterion, by pairs of variants, the rows that only the first of them has right."""

    only: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, is_right: dict[str, bool]) -> None:
        for first, second in permutations(is_right, 2):
            if is_right[first] and not is_right[second]:
                self.only[first, second] = self.only.get((first, second), 0) + 1


def _read_all(readings: Sequence[_Reading]) -> dict[str, _Tally]:
    """Read the rows of all variants in step, and return the tally of each criterion."""
    tallies: dict[str, _Tally] = {}
    for rows in zip(*(one.judge_rows() for one in readings), strict=True):
        for criterion in rows[0]:
            tally = tallies.setdefault(criterion, _Tally())
            tally.add({one.name: row[criterion] for one, row in zip(readings, rows, strict=True)})
    return tallies


def _describe(own: _Reading, all: Sequence[_Reading], tallies: dict[str, _Tally]) -> ComparedVariant:
    rows = own.run.rows
    return ComparedVariant(
        variant=own.name,
        run=own.run.id,
        model=str(own.spec.params["model"]),
        rows=rows,
        succeeded=own.succeeded,
        evaluation=own.judge.evaluator.scores() if own.judge is not None else [],
        cost_per_thousand=None if own.rate is None or not rows else round(1000 * own.cost / rows, 6),
        contrasts=[_contrast(own.name, [one.name for one in all], *item) for item in tallies.items()],
    )


def _contrast(own: str, names: Sequence[str], criterion: str, tally: _Tally) -> Contrast:
    """Return a variant beside the one that has most rows right; the first of several."""

    def lead(name: str) -> int:
        """Return by how many right rows a variant is ahead of the first."""
        return tally.only.get((name, names[0]), 0) - tally.only.get((names[0], name), 0)

    best = max(names, key=lead)
    only_best, only_own = tally.only.get((best, own), 0), tally.only.get((own, best), 0)
    return Contrast(criterion, best, only_best, only_own, round(mcnemar_p(only_best, only_own), 6))


def _choose(variants: Sequence[ComparedVariant]) -> str | None:
    """Return the cheapest variant that is not worse than another; None without one, or if a cost is unknown."""
    costs = {one.variant: one.cost_per_thousand for one in variants if not one.is_worse}
    known = {name: cost for name, cost in costs.items() if cost is not None}
    return min(known, key=lambda name: known[name]) if known and len(known) == len(costs) else None
