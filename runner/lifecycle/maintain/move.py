"""Move the runs of a project to a state that machines share, or back to its folder."""

from pathlib import Path

from runner.errors import StateError, UsageError, describe_os_error
from runner.spec.spec_files import find_project_root
from runner.store.moving.move import Moved, move_to_folder, move_to_shared
from runner.store.moving.move_files import Report
from runner.store.place import StatePlace, find_place, make_shared_place
from runner.store.settings import Setting

LOCAL, SHARED = "local", "shared"


def find_move(to: str | None, files: str | None, project: str | None) -> tuple[StatePlace, bool]:
    """Return the shared state of a move and whether it goes there, by its settings and what they do not say.

    `to` is `local`, `shared` or the URL of a database. Raises UsageError if that names no shared state.
    """
    root = find_project_root(Path.cwd() / "spec")
    if to not in (None, LOCAL, SHARED):
        return make_shared_place(
            root,
            Setting(to or "", "--to"),
            None if files is None else Setting(files, "--files"),
            None if project is None else Setting(project, "--project"),
        ), True
    if files is not None or project is not None:
        raise UsageError("--files and --project need --to with the URL of a database beside them")
    place = find_place(root)
    if not place.is_shared:
        raise UsageError(
            "no shared state is named: put `state` and `files` into runner.toml, "
            "or use `--to postgresql://… --files s3://…`"
        )
    return place, to != LOCAL


def move_runs(place: StatePlace, report: Report, *, is_shared: bool) -> Moved:
    """Move all runs of a project to a shared state, or from there to its folder.

    Raises StateLocked if a runner uses them, and StateError.
    """
    try:
        return move_to_shared(place, report) if is_shared else move_to_folder(place, report)
    except OSError as error:
        raise StateError(describe_os_error(error, place.folder)) from error
