"""Mistakes put into the modules that guard money: `python -m tests.proofs.mutations [--sample N] [MODULE...]`.

Each mutant is one small change of one module, for example `<` for `<=`, or a statement that is left out. The tests
of the module run against it in a copy of the repository. A mutant that they all accept survives, and is printed.
"""

import argparse
import ast
import copy
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from tests.support import ROOT

TESTS = {
    "api/errors.py": ("tests/api", "tests/plan/test_count.py", "tests/send", "tests/follow"),
    "lifecycle/deliver/collect.py": (
        "tests/deliver",
        "tests/follow",
        "tests/maintain/test_unknown_batches.py",
        "tests/prepare/test_next_round.py",
        "tests/send/test_synchronous.py",
    ),
    "lifecycle/deliver/read_results.py": (
        "tests/deliver",
        "tests/requests/test_conversation.py",
        "tests/fuzz/test_results.py",
        "tests/promises/test_faults.py",
    ),
    "lifecycle/follow/next_step.py": ("tests/follow",),
    "lifecycle/follow/reconcile.py": (
        "tests/follow",
        "tests/maintain/test_unknown_batches.py",
        "tests/send/test_bind.py",
    ),
    "lifecycle/follow/remote_batches.py": ("tests/follow", "tests/maintain"),
    "lifecycle/prepare/next_round.py": (
        "tests/prepare",
        "tests/requests/test_conversation.py",
        "tests/promises/test_faults.py",
    ),
    "lifecycle/send/bind.py": ("tests/send", "tests/follow", "tests/deliver/test_missing_results.py"),
    "lifecycle/send/cost_cap.py": ("tests/promises/test_cost_cap.py", "tests/follow/test_restored.py"),
    "lifecycle/send/submit.py": ("tests/send", "tests/promises/test_crash.py"),
    "pricing/rates.py": ("tests/pricing", "tests/plan", "tests/promises/test_cost_cap.py"),
    "requests/stored_params.py": ("tests/requests/test_stored_params.py", "tests/prepare/test_stored_bodies.py"),
    "results/outcome.py": ("tests/results", "tests/fuzz/test_results.py"),
    "store/database.py": ("tests/store", "tests/promises/test_processes.py"),
    "store/run_batches.py": ("tests/store/test_run_batches.py", "tests/runs", "tests/follow/test_loop.py"),
}
"""The modules that guard money, each with the tests that must fail for a mistake in it."""

SECONDS = 600
"""The time for the tests of one mutant; one that never ends counts as found."""

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def _change(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the mistakes that can replace a node."""
    match node:
        case ast.Compare(ops=[operator, *rest]) if type(operator) in _COMPARISONS:
            changed = copy.deepcopy(node)
            changed.ops = [_COMPARISONS[type(operator)](), *rest]
            yield changed
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(number)):
            yield ast.Constant(number + 1)
        case ast.BinOp(left, ast.Add() | ast.Sub() as operator, right):
            yield ast.BinOp(left, ast.Sub() if isinstance(operator, ast.Add) else ast.Add(), right)
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign():
            yield ast.Pass()
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))


def find_mutants(source: str) -> list[tuple[str, str]]:
    """Return (description, mutated source) of every mistake that can be put into a module."""
    tree, found = ast.parse(source), []
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            nodes = value if isinstance(value, list) else [value]
            for index, node in enumerate(nodes):
                for changed in _change(node) if isinstance(node, ast.AST) else ():
                    replaced = [*nodes[:index], changed, *nodes[index + 1 :]]
                    setattr(parent, field, replaced if isinstance(value, list) else changed)
                    mutated = ast.unparse(ast.fix_missing_locations(tree))
                    setattr(parent, field, value)
                    before, after = ast.unparse(node).splitlines()[0], ast.unparse(changed).splitlines()[0]
                    found.append((f"line {getattr(node, 'lineno', 0)}: {before} → {after}", mutated))
    return found


def is_found(copies: "SimpleQueue[Path]", module: str, mutated: str) -> bool:
    """Run the tests of a module against a mutant, in one of the copies; return whether a test fails."""
    folder = copies.get()
    path = folder / "runner" / module
    original = path.read_bytes()
    try:
        path.write_text(mutated, "utf-8")
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
        words += ["--timeout", "120", *TESTS[module]]
        done = subprocess.run(words, cwd=folder, check=False, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return True
    else:
        # Anything else than a failed test means that the tests did not run.
        assert done.returncode in (0, 1, 2, 3), done.stdout.decode()
        return done.returncode != 0
    finally:
        path.write_bytes(original)
        copies.put(folder)


def prove(
    module: str, copies: "SimpleQueue[Path]", workers: int, sample: int | None, seed: int
) -> tuple[int, list[str]]:
    """Return the number of mutants of a module that were tried, and those that no test found."""
    mutants = find_mutants((ROOT / "runner" / module).read_text("utf-8"))
    chosen = mutants if sample is None else random.Random(seed).sample(mutants, min(sample, len(mutants)))
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(partial(is_found, copies, module), [mutated for _, mutated in chosen]))
    return len(chosen), [about for (about, _), was_found in zip(chosen, found, strict=True) if not was_found]


def main(words: Sequence[str]) -> int:
    """Try mutants of the named modules, or of all; return 1 if one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.mutations")
    parser.add_argument("modules", nargs="*", choices=[[], *TESTS], metavar="MODULE", default=[])
    parser.add_argument("--sample", type=int, help="number of mutants of each module, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(words)
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(chosen.workers):
            hidden = shutil.ignore_patterns(".*", "__pycache__", "simulated")
            copies.put(Path(shutil.copytree(ROOT, Path(folder) / str(number), ignore=hidden)))
        for module in chosen.modules or TESTS:
            tried, survived = prove(module, copies, chosen.workers, chosen.sample, chosen.seed)
            survivors += len(survived)
            print(f"{module}: {tried - len(survived)} of {tried} found", *survived, sep="\n  ", flush=True)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
