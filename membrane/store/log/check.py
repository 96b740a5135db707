"""Checking a decision log: whether every line is there, as it was written, in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from membrane.store.log.lines import NOTHING, Fields, Head, Stamp, hash_of, line_of

NOTE = "log"
"""The field of lines in which the log tells of itself."""

NO_HEAD = "its head was missing or changed"
UNFINISHED = "an unfinished line of a crash was removed"
KEY_CHANGED = "from here on it is stamped by another key"

NEXT, PROBLEMS = "next", "problems"
"""Fields of a change of keys: who stamps from there on, and what was wrong before."""

NUMBER_DIGITS = 10
"""Digits that the name of a file ends in once it is put aside: enough for any log."""

MOST_PROBLEMS = 20
"""Problems that are told: who looks at more looks at the file."""


@dataclass(frozen=True)
class LogCheck:
    """What was found in a log.

    Parameters
    ----------
    lines : int
        How many were checked.
    problems : tuple of str
        What somebody removed, added or changed, each in words; empty if nothing.
    notes : tuple of str
        What a crash left, which is nobody's doing.
    """

    lines: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """All files of a log at one moment.

    Parameters
    ----------
    name : str
        Of the newest file.
    head : bytes or None
    newest : bytes or None
        Content of the newest file.
    older : dict of int to bytes
        Content of the others, by the number of their first line.
    """

    name: str
    head: bytes | None
    newest: bytes | None
    older: dict[int, bytes]

    def raw_lines(self) -> Iterator[bytes]:
        """Yield what stands between line ends, oldest first, whatever it is."""
        contents = [self.older[number] for number in sorted(self.older)]
        for content in [*contents, self.newest or b""]:
            yield from content.split(b"\n")

    def seeming_head(self) -> Head:
        """Return the head that the files seem to have had, as far as they can tell."""
        newest = self.newest or b""
        found = [raw for raw in self.raw_lines() if line_of(raw)]
        first, last = (line_of(found[0]), line_of(found[-1])) if found else (None, None)
        number = last["number"] if last else 0
        begins = line_of(newest.partition(b"\n")[0])
        return Head(
            last=number,
            last_hash=hash_of(found[-1]) if found else NOTHING,
            before=first["previous"] if first else NOTHING,
            files=(*sorted(self.older), begins["number"] if begins else number + 1),
            size=len(newest),
        )


def older_name(name: str, number: int) -> str:
    """Return what the file that begins with a line is called once it is not the newest."""
    return f"{name}.{number:0{NUMBER_DIGITS}}"


def check(found: Snapshot, stamp: Stamp) -> LogCheck:
    """Return what is wrong with a log.

    Parameters
    ----------
    found : Snapshot
    stamp : Stamp
        The one in force: the log must end with lines that it made.
    """
    walk = _Walk(stamp)
    head = Head.read(found.head, stamp) if found.head is not None else None
    if head is None:
        _check_without_head(found, walk)
    else:
        _check_files(found, head, walk)
        walk.end(head, found.name)
    problems = walk.problems[:MOST_PROBLEMS]
    if len(walk.problems) > MOST_PROBLEMS:
        problems.append(f"{len(walk.problems) - MOST_PROBLEMS} more problems follow")
    return LogCheck(walk.lines, tuple(problems), tuple(walk.notes))


def _check_without_head(found: Snapshot, walk: _Walk) -> None:
    if found.head is None and found.newest is None and not found.older:
        return
    what = "is missing" if found.head is None else "was changed, or is of another key"
    walk.problems.append(f"{found.name}.head {what}: lines may have been cut off the end")
    for number in sorted(found.older):
        walk.file(older_name(found.name, number), found.older[number], number)
    if found.newest is not None:
        walk.file(found.name, found.newest, None, newest=True)


def _check_files(found: Snapshot, head: Head, walk: _Walk) -> None:
    walk.begin(head)
    for number in sorted(set(found.older) - set(head.files)):
        if number > head.files[0]:
            walk.problems.append(f"{older_name(found.name, number)} is not a file of this log")
    for number in head.files[:-1]:
        walk.file(older_name(found.name, number), found.older.get(number), number)
    newest, number = found.newest, head.files[-1]
    if number in found.older and newest is not None:
        walk.problems.append(f"{older_name(found.name, number)} is not a file of this log")
    elif newest is None:
        # Killed while it was put aside.
        newest = found.older.get(number)
    if newest is not None or number <= head.last:
        walk.file(found.name, newest, number, newest=True)


@dataclass
class _Walk:
    """Goes from line to line, and knows what the next one must be; None: anything."""

    stamp: Stamp
    number: int | None = None
    previous: str | None = None
    by: str | None = None
    lines: int = 0
    hashes: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def begin(self, head: Head) -> None:
        """Expect the line that the head says is the first."""
        self.number, self.previous = head.files[0], head.before
        self.hashes[self.number - 1] = self.previous

    def file(
        self, name: str, content: bytes | None, first: int | None, *, newest: bool = False
    ) -> None:
        """Check the lines of a file; only the newest may end in a line that a crash cut off."""
        if content is None:
            self.problems.append(f"{name} is missing")
            self.number = self.previous = self.by = None
            return
        *lines, rest = content.split(b"\n")
        for place, raw in enumerate(lines, start=1):
            self._line(f"{name} line {place}", raw, first if place == 1 else None)
        if rest and newest:
            self.notes.append(f"{name} ends in an unfinished line, as a crash leaves it")
        elif rest:
            self.problems.append(f"{name} line {len(lines) + 1} was cut off")
            self.previous = None

    def end(self, head: Head, name: str) -> None:
        """Hold the last line against the head, which a crash may leave one line behind."""
        last = max(self.hashes)
        known = self.hashes.get(head.last)
        if last < head.last:
            self.problems.append(f"{_lines(last + 1, head.last)} missing at the end of {name}")
        elif known not in (None, head.last_hash):
            self.problems.append(f"line {head.last} is not the one that {name}.head names")
        if last > head.last + 1:
            self.problems.append(f"{_lines(head.last + 2, last)} not known to {name}.head")
        if self.by not in (None, self.stamp.by):
            self.problems.append(f"{name} ends with a line that is stamped by {self.by}")

    def _line(self, place: str, raw: bytes, first: int | None) -> None:
        self.lines += 1
        fields = line_of(raw)
        if fields is None or not self.stamp.is_genuine(fields):
            self.problems.append(f"{place} was changed, or was never a line of this log")
            self.number = None if self.number is None else self.number + 1
            self.previous = self.by = None
            return
        self._check(place, fields, first)
        self.number, self.previous = fields["number"] + 1, hash_of(raw)
        self.by = fields.get(NEXT, fields["by"])
        self.hashes[fields["number"]] = self.previous

    def _check(self, place: str, fields: Fields, first: int | None) -> None:
        number = fields["number"]
        if self.number is not None and number > self.number:
            self.problems.append(f"{_lines(self.number, number - 1)} missing before {place}")
        elif self.number is not None and number < self.number:
            self.problems.append(f"{place} has the number {number}, which does not belong there")
        elif self.previous not in (None, fields["previous"]):
            self.problems.append(f"{place} does not follow the line before it")
        elif self.by not in (None, fields["by"]):
            self.problems.append(f"{place} is stamped by {fields['by']}, and nothing announces it")
        elif first not in (None, number):
            self.problems.append(f"{place} is not line {first}, which the file begins with")
        told = fields.get(NOTE)
        if told == UNFINISHED:
            self.notes.append(f"before {place} {told}")
        elif told == NO_HEAD:
            self.problems.append(f"before {place} {told}: lines before it may be missing")
        elif fields.get(PROBLEMS):
            self.problems.append(f"before {place} was found: {fields[PROBLEMS]}")


def _lines(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"
