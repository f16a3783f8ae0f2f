"""Order specs that read each other's outputs, so that they can run one after the other."""

import os
from collections.abc import Iterator, Sequence

from runner.spec.spec import Spec


def sort_by_dependency(specs: Sequence[Spec]) -> list[Spec]:
    """Return the specs in their given order, but each after the one whose outputs it reads, if given."""
    by_path = {os.path.realpath(spec.path): spec for spec in specs}
    done: dict[str, Spec] = {}

    def visit(path: str) -> Iterator[tuple[str, Spec]]:
        spec = by_path[path]
        before = os.path.realpath(spec.root / spec.source.options.get("spec", ""))
        if spec.source.type == "run" and before in by_path and before not in done:
            yield from visit(before)
        yield path, spec

    for path in by_path:
        if path not in done:
            done.update(visit(path))
    return list(done.values())
