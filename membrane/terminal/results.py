"""The results file: one CSV line for every decision, for evaluators."""

import csv
import io
import os
from datetime import UTC, datetime
from pathlib import Path

from membrane.errors import OutputUnwritable
from membrane.login.decision import Decision
from membrane.terminal.text import escaped

COLUMNS = (
    *("time", "command", "claimed", "best", "metric", "similarity", "score"),
    *("threshold", "decision", "file"),
)
"""As in the first tier of the original; ``threshold`` is the least ``score``, a log-likelihood
ratio, or, where a threshold of one's own decides and there is no score, the metric's."""


def append_decision(path: Path, decision: Decision) -> None:
    """Append a decision to a results file; a new file begins with the names of the columns.

    Raises
    ------
    OutputUnwritable
        If it cannot be written.
    """
    try:
        # For its owner only: how alike somebody was is not for whoever logs in.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
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
        _number(voice.score) if voice else "",
        _number(voice.threshold if voice.score is None else voice.score_threshold) if voice else "",
        "accepted" if decision.accepted else "rejected",
        decision.source,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _line(cells: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_harmless(escaped(cell)) for cell in cells])
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    # A spreadsheet would run a cell that begins like a formula: a name may be chosen to do so.
    dangerous = cell[:1] in {"=", "+", "@"} or (cell[:1] == "-" and not _is_number(cell))
    return f"'{cell}" if dangerous else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
