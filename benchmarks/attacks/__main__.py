"""How often each attack gets in, whole decisions: quality, words and voice.

    python -m benchmarks.attacks [replay|strangers|synthetic|mixtures|enumeration|all]
                                 [--quick] [--jobs 2] [--write]

What each part tries is told by its module, and by RESULTS.md, which ``--write`` writes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from benchmarks.attacks.results import with_section
from benchmarks.attacks.work import Work
from benchmarks.phrases import SPEECH
from membrane.errors import MembraneError

PARTS = {
    "replay": "Replay",
    "strangers": "Strangers",
    "synthetic": "Synthetic voices",
    "mixtures": "Two voices at once, television, and phrases of two people",
    "enumeration": "Guessing who is enrolled",
}
RESULTS = Path(__file__).with_name("RESULTS.md")


def options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attacks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", nargs="?", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--write", action="store_true", help="renew the parts in RESULTS.md")
    chosen = parser.parse_args()
    if chosen.write and chosen.quick:
        parser.error("--write is for what was measured in full: leave out --quick")
    if not SPEECH.is_dir():
        parser.error(f"{SPEECH} is missing")
    return chosen


def section(part: str, *, quick: bool, jobs: int) -> str:
    """Return what one part measured, in Markdown."""
    module = import_module(f"benchmarks.attacks.{part}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        body = module.report(Work(Path(folder), quick, jobs))
    minutes = (time.monotonic() - started) / 60
    about = " ".join(module.__doc__.partition("\n\n")[2].split())
    command = f"`python -m benchmarks.attacks {part}{' --quick' * quick}`, {minutes:.0f} minutes"
    return f"## {PARTS[part]}\n\n{about}\n\n{body}\n\n{command}.\n"


def main() -> None:
    """Measure, print, and write what was asked for."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores between them
    chosen = options()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MEMBRANE_HOME"] = home  # nobody's own settings or calibration
        try:
            for part in PARTS if chosen.part == "all" else [chosen.part]:
                text = section(part, quick=chosen.quick, jobs=chosen.jobs)
                print(text, flush=True)
                if chosen.write:
                    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
                    after = with_section(before, text, order=list(PARTS.values()))
                    RESULTS.write_text(after, encoding="utf-8")
        except MembraneError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
