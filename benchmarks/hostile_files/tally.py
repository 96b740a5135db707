"""How many files of each kind ended how."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from benchmarks.hostile_files.judging import FINE
from benchmarks.hostile_files.workers import Report


class Tally:
    """Counts reports."""

    def __init__(self) -> None:
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._problems: Counter[str] = Counter()
        self._slowest = Report(-1, "", "")
        self._largest = Report(-1, "", "")
        self._cpu_s = 0.0

    def add(self, report: Report) -> None:
        """Count one more file."""
        self._outcomes[report.kind][report.outcome] += 1
        self._problems[report.kind] += bool(report.problem)
        self._slowest = max(self._slowest, report, key=lambda one: one.cpu_s)
        self._largest = max(self._largest, report, key=lambda one: one.grown_mb)
        self._cpu_s += report.cpu_s

    @property
    def files(self) -> int:
        """How many were counted."""
        return sum(sum(outcomes.values()) for outcomes in self._outcomes.values())

    @property
    def findings(self) -> int:
        """How many ended as no file may."""
        return self._problems.total()

    def table(self, *, seconds: float) -> str:
        """Return all that was counted, as lines."""
        ends = sorted({end for ended in self._outcomes.values() for end in ended} - {FINE})
        ends.insert(0, FINE)
        rows = [["kind", "files", *ends, "findings"]]
        for kind, ended in sorted(self._outcomes.items(), key=lambda item: -item[1].total()):
            counts = [ended[end] for end in ends]
            rows.append([kind, *map(str, (ended.total(), *counts, self._problems[kind]))])
        totals = [sum(ended[end] for ended in self._outcomes.values()) for end in ends]
        rows.append(["all", *map(str, (self.files, *totals, self.findings))])
        return "\n".join([*_aligned(rows), *self._extremes(seconds)])

    def _extremes(self, seconds: float) -> Iterable[str]:
        slowest, largest = self._slowest, self._largest
        yield f"slowest: {slowest.cpu_s:.2f} s of processor, {slowest.kind} {slowest.number}"
        yield f"largest: {largest.grown_mb:.0f} MB, {largest.kind} {largest.number}"
        yield (
            f"{self.files} files in {seconds:.0f} s, {self.files / max(seconds, 1e-9):.0f} a second"
            f" ({self._cpu_s:.0f} s of processor)"
        )


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells])
