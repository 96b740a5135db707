"""The program: run a command, and end with an exit code that says how it went."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from membrane.cli import app
from membrane.console import View
from membrane.errors import MembraneError, OutputUnwritable, UsageError

DEFECT = 70
"""Exit code of an error that nobody foresaw (EX_SOFTWARE of sysexits.h)."""

INTERRUPTED = 130
"""Exit code of Ctrl-C, as shells have it: 128 + SIGINT."""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every error becomes one line.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program's name.
    """
    try:
        code = app(list(arguments), prog_name="membrane", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        if os.environ.get("MEMBRANE_DEBUG"):
            raise
        return _failed(*_explain(error))
    return code if isinstance(code, int) else 0


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the line and the exit code for whatever ended a command."""
    match error:
        case MembraneError():
            return str(error), error.exit_code
        case typer.TyperException():
            return f"{error.format_message()} See membrane --help.", UsageError.exit_code
        case KeyboardInterrupt() | typer.Abort():
            return "interrupted: nothing was left half done", INTERRUPTED
        case OSError() | SystemExit(code=1):
            # Typer exits with 1 when nobody reads the output any more.
            return f"the output cannot be written: {error}", OutputUnwritable.exit_code
        case SystemExit(code=int(code)):
            return "", code
    return (
        f"a defect of Membrane ({type(error).__name__}: {error}): please report it; "
        "MEMBRANE_DEBUG=1 shows where",
        DEFECT,
    )


def _failed(message: str, code: int) -> int:
    """Show why a command ends and return its exit code, even if nobody can be told."""
    try:
        if message:
            View().error(message)
        sys.stdout.flush()
    except (MembraneError, OSError):
        # Python would try to write the rest at exit, and exit with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    main()
