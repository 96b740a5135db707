"""Enrol three synthetic voices, then let one in, refuse two, and recognise one: `make demo`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = Path("tests", "recordings")

ACCEPTED, REFUSED = 0, 1


def recordings(person: str, kind: str) -> list[Path]:
    """Return one person's recordings of a kind; their names tell the words."""
    return sorted((ROOT / RECORDINGS / person).glob(f"{kind}-*.flac"))


def words_of(recording: Path) -> str:
    """Return what is said in a recording: ``login-4-7-1-9-0-2.flac`` is "4 7 1 9 0 2"."""
    return recording.stem.split("-", 1)[1].replace("-", " ")


def membrane(why: str, *arguments: str | Path, ends_in: int) -> None:
    """Show and run one command, and stop the demonstration if it ends otherwise than expected."""
    shown = [str(a.relative_to(ROOT)) if isinstance(a, Path) else a for a in arguments]
    print(f"\n# {why}\n$ membrane {shlex.join(shown)}", flush=True)
    command = [sys.executable, "-m", "membrane", *shown]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"(exit code {code})", flush=True)
    if code != ends_in:
        sys.exit(f"the demonstration expected exit code {ends_in}")


def verify(why: str, name: str, recording: Path, expected: str, *, ends_in: int) -> None:
    """Try to log in with a recording."""
    arguments = ("verify", "-u", name, "-f", recording, "--expect", expected)
    membrane(why, *arguments, ends_in=ends_in)


def demonstrate() -> None:
    """Run the main job on recordings."""
    for name in ("ada", "boris", "clara"):
        files = [part for file in recordings(name, "enrol") for part in ("-f", file)]
        membrane(f"Enrol {name}.", "enroll", "-u", name, *files, "--consent", ends_in=ACCEPTED)
    login, other = recordings("ada", "login")[:2]
    impostor = recordings("edgar", "login")[0]
    verify("Ada says what was asked.", "ada", login, words_of(login), ends_in=ACCEPTED)
    verify("Edgar says he is Ada.", "ada", impostor, words_of(impostor), ends_in=REFUSED)
    verify("Ada says other words.", "ada", other, words_of(login), ends_in=REFUSED)
    verify("Her login is played again.", "ada", login, words_of(login), ends_in=REFUSED)
    probe = recordings("clara", "login")[0]
    membrane("Who is this?", "identify", "-f", probe, ends_in=ACCEPTED)
    membrane("Everybody who is enrolled:", "list", ends_in=ACCEPTED)


def main() -> None:
    """Demonstrate in a folder of its own, so that nobody's voiceprints are touched."""
    with tempfile.TemporaryDirectory(prefix="membrane-demo-") as home:
        os.environ["MEMBRANE_HOME"] = home
        demonstrate()
    print("\nThat was the demonstration. At a microphone: .venv/bin/membrane enroll")


if __name__ == "__main__":
    main()
