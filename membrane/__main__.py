"""The program: run a command, and end with an exit code that says how it went."""

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

DEFECT = 70
"""Exit code of an error that nobody foresaw (EX_SOFTWARE of sysexits.h)."""

REFUSED = 1
"""Exit code of somebody who is not let in; no other outcome may end in it."""

COMPLETION = {"--show-completion", "--install-completion"}

COMPLETING = "_MEMBRANE_COMPLETE"
"""Variable in which a shell asks what could follow. It calls without arguments then: Typer would
answer instead of running a command, too, and end with 0 as if somebody had been let in."""

INTERRUPTED = 130
"""Exit code of Ctrl-C, as shells have it: 128 + SIGINT."""


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        _open_closed_streams()
        _survive_odd_letters()
        sys.exit(run(sys.argv[1:]))
    finally:
        # All is said. Ctrl-C while Python clears up ends it at once, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _terminate(number: int, _frame: object) -> NoReturn:
    """End as any program does that is told to, but clear up: workers would go on without us."""
    raise SystemExit(128 + number)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every error becomes one line.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program's name.
    """
    try:
        # Imported here, so that Ctrl-C at once is answered like any other.
        from membrane.cli import app
        from membrane.errors import UsageError

        if arguments:
            os.environ.pop(COMPLETING, None)
        code = app(list(arguments), prog_name="membrane", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt  # Typer made this number of it
        if code == REFUSED and COMPLETION.intersection(arguments):
            return UsageError.exit_code  # Typer has said that it does not know the shell
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - nothing is swallowed: each has its line
        if os.environ.get("MEMBRANE_DEBUG"):
            sys.excepthook(type(error), error, error.__traceback__)
        return _failed(*_explain(_end_behind(error) or error))
    return code if isinstance(code, int) else 0


def _end_behind(error: BaseException | None) -> KeyboardInterrupt | SystemExit | None:
    """Return the signal that made an error: an import that it breaks off says it failed."""
    while error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        error = error.__cause__ or error.__context__
    return error


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the line and the exit code for whatever ended a command."""
    import typer

    from membrane.errors import MembraneError, OutputUnwritable, UsageError

    match error:
        case MembraneError():
            return str(error), error.exit_code
        case typer.TyperException():
            text = error.format_message().rstrip(".").replace("Value error, ", "")
            return f"{text}. See membrane --help.", UsageError.exit_code
        case KeyboardInterrupt() | typer.Abort():
            return "interrupted: nothing was left half done", INTERRUPTED
        case OSError() | SystemExit(code=1):
            # Typer exits with 1 when nobody reads its help any more.
            reason = getattr(error, "strerror", None) or "nobody reads it"
            return f"the output cannot be written: {reason}", OutputUnwritable.exit_code
        case SystemExit(code=int(code)):
            return "", code
    return _explain_unforeseen(error)


def _explain_unforeseen(error: BaseException) -> tuple[str, int]:
    from membrane.errors import Unavailable

    if isinstance(error, ImportError):
        return (
            f"the library {error.name or 'of a program'} cannot be loaded ({error}): "
            "install Membrane again",
            Unavailable.exit_code,
        )
    return (
        f"a defect of Membrane ({type(error).__name__}: {error}): please report it; "
        "MEMBRANE_DEBUG=1 shows where",
        DEFECT,
    )


def _failed(message: str, code: int) -> int:
    """Show why a command ends and return its exit code, even if nobody can be told."""
    from membrane.terminal.console import View

    try:
        if message:
            View().error(message)
        sys.stdout.flush()
    except OSError:
        # Python would try to write the rest at exit, and exit with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _open_closed_streams() -> None:
    """Put the null device where the caller closed a standard stream.

    The next file to be opened, which may be the database, would take its number otherwise, and
    whoever writes to standard error would write there.
    """
    for name, access, mode in (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),  # not to be written: who closed it must not be told 0
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, access), mode, encoding="utf-8"))


def _survive_odd_letters() -> None:
    """Write what the terminal cannot show as code points, and read what is no text at all."""
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


if __name__ == "__main__":
    main()
