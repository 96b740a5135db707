"""Write docs/commands.md from the help of every command.

``python docs/make_commands.py`` writes the page. With ``--check`` it writes nothing and ends
with exit code 1 if the page is out of date.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("commands.md")

INTRODUCTION = """\
# Commands

This page is the help of every command, as `--help` prints it. `python docs/make_commands.py`
writes it.

Answers go to standard output, everything else to standard error. `--json` answers with one JSON
object, `-q` prints only the result, and `--results results.csv` appends every decision to a file.

| exit code | what it means |
|---|---|
| 0 | accepted, or done |
| 1 | refused |
| 2 | wrong usage |
| 3 | the recording cannot be judged |
| 4 | the name is taken or unknown |
| 5 | the database cannot be used |
| 6 | no microphone, engine or weights |
| 7 | an output cannot be written |
| 70 | a defect of Membrane: please report it |
| 130 | interrupted or declined |
"""

HIDDEN = """\
# Commands for the owner of the database

`membrane --help` does not list these commands.
"""


def help_of(*names: str) -> str:
    """Return the help of one command, 80 columns wide."""
    from typer.main import get_command

    from membrane.cli import app

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        command = get_command(app)
        command.main([*names, "--help"], prog_name="membrane", standalone_mode=False)
    return "\n".join(line.rstrip() for line in shown.getvalue().strip().splitlines())


def commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the names of each command below a group, and whether it is hidden."""
    for name, command in group.commands.items():
        yield (*names, name), command.hidden
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)


def section(names: tuple[str, ...]) -> str:
    """Return the part of the page about one command."""
    title = " ".join(("membrane", *names))
    return f"## {title}\n\n```text\n{help_of(*names)}\n```\n"


def page() -> str:
    """Return the whole page."""
    from typer.main import get_command

    from membrane.cli import app

    found = list(commands(get_command(app)))
    listed = [section(names) for names, hidden in found if not hidden]
    hidden = [section(names) for names, hidden in found if hidden]
    return "\n".join([INTRODUCTION, section(()), *listed, HIDDEN, *hidden])


def main() -> None:
    """Write the page, or only check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only tell whether it is up to date")
    check = parser.parse_args().check
    # The page must not depend on the terminal it is made in.
    os.environ.update(COLUMNS="80", TERM="dumb")
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit("docs/commands.md is out of date: run python docs/make_commands.py")


if __name__ == "__main__":
    main()
