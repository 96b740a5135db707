"""The results file: one CSV line for every decision, for evaluators."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

from membrane.decision import Decision
from membrane.errors import OutputUnwritable

COLUMNS = (
    *("time", "command", "claimed", "best", "metric", "similarity", "score"),
    *("threshold", "decision", "file"),
)
"""As in the first tier of the original; ``score`` stays empty until there is a calibration."""


def append_decision(path: Path, decision: Decision) -> None:
    """Append a decision to a results file; a new file begins with the names of the columns.

    Parameters
    ----------
    path : Path
    decision : Decision

    Raises
    ------
    OutputUnwritable
        If it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            # One write a line, so that two processes do not mix theirs.
            heading = _line(COLUMNS) if file.tell() == 0 else ""
            file.write(heading + _line(_cells(decision)))
    except OSError as error:
        raise OutputUnwritable(
            f"the results cannot be written to {path}: {error.strerror or error}"
        ) from None


def _cells(decision: Decision) -> tuple[str, ...]:
    voice = decision.voice
    best = decision.candidates[0].name if decision.candidates else decision.claimed
    return (
        datetime.now(UTC).isoformat(timespec="seconds"),
        decision.command,
        decision.claimed,
        best,
        voice.metric if voice else "",
        f"{voice.value:.6f}" if voice else "",
        "",
        f"{voice.threshold:.6f}" if voice else "",
        "accepted" if decision.accepted else "rejected",
        decision.source,
    )


def _line(cells: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_harmless(cell) for cell in cells])
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    # A spreadsheet would run a cell that begins like a formula: a name may be chosen to do so.
    dangerous = cell[:1] in {"=", "+", "@", "\t", "\r"} or (cell[:1] == "-" and not _number(cell))
    return f"'{cell}" if dangerous else cell


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
