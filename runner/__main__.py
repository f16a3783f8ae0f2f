"""Entry point of the `runner` command, and of `python -m runner`."""

import gc
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it with 130."""
    try:
        from runner.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # At its end Python looks at every object once more, for cycles: with those of the SDK, that takes 0.4 s.
        gc.freeze()


if __name__ == "__main__":
    main()
