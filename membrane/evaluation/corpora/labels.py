"""Labels: what tables and lists say of speakers and files, and how names are compared."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path, PurePath

from membrane.errors import NoSuchFile, UsageError

LARGEST_LIST = 256 * 1024 * 1024
"""Bytes of a list of labels, speakers or trials that are read: four times VoxCeleb's largest."""

ADULT = 18
"""Years from which a voice counts as grown up."""

MOST_AGES = 6
"""Different ages that are reported each on its own."""


@dataclass(frozen=True)
class Label:
    """What a file of labels says of a speaker or a file.

    Parameters
    ----------
    speaker : str
        Empty where the file has no column of that name.
    labels : tuple of (str, str)
        Sorted by name; without those that are empty.
    """

    speaker: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Labels:
    """A file of labels that was read.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    first : str
        The first cell of the header.
    rows : dict of str to Label
        By the first column: a path below the folder, a file's name or stem, or a speaker.
    """

    name: str
    first: str
    rows: Mapping[str, Label]

    def look_up(self, called: Sequence[Sequence[str]]) -> tuple[list[Label | None], list[str]]:
        """Return what is said of each recording, and the sentence that says of how many nothing is.

        Parameters
        ----------
        called : sequence of sequence of str
            What the file may call each recording, the most exact first.

        Raises
        ------
        UsageError
            If the first line of the file is no header, or it says nothing of any recording.
        """
        known = {name for names in called for name in names}
        if self.first in known:
            raise UsageError(
                f"{self.name} has no header: let its first line name the columns, "
                "such as speaker, gender, age"
            )
        if known.isdisjoint(self.rows):
            raise UsageError(
                f"{self.name} labels none of the recordings: its first column must hold paths "
                "below the folder, file names or speakers"
            )
        found = [
            next((self.rows[name] for name in names if name in self.rows), None) for names in called
        ]
        missing = found.count(None)
        note = f"No labels in {self.name}: {missing:,} of {counted(len(called), 'recording')}."
        return found, [note] if missing else []


def read_labels(path: Path) -> Labels:
    """Read what is known of speakers or files from a table.

    Parameters
    ----------
    path : Path
        TSV or CSV in UTF-8, with a header. The first column names a file by its path below the
        folder, its name or its stem, or a speaker. A further column ``speaker`` says who speaks;
        every other one is a label. Column names are compared without case. An ``age`` of more than
        six different numbers becomes "under 18" or "18 or more".

    Raises
    ------
    UsageError
        If it cannot be read, has no header, or says two things of one.
    """
    text = read_text(path)
    lines = StringIO(text, newline="")
    # Between tabs a quotation mark is nothing but that.
    tabs = "\t" in text.partition("\n")[0]
    table = csv.reader(lines, csv.excel_tab, quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
    try:
        rows = [(table.line_num, [cell.strip() for cell in row]) for row in table if any(row)]
    except csv.Error as error:
        raise UsageError(
            f"{printable(path)}, line {table.line_num} is not a row: {error}"
        ) from None
    return _as_labels(printable(path), rows)


def read_text(path: Path) -> str:
    """Return the text of a list.

    Raises
    ------
    NoSuchFile
        If it is not there, is a directory, or may not be read.
    UsageError
        If it is not text in UTF-8, or larger than 256 MB.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_LIST + 1)
    except (OSError, ValueError) as error:
        raise NoSuchFile(f"{printable(path)} cannot be read: {reason(error)}") from None
    if len(data) > LARGEST_LIST:
        raise UsageError(f"{printable(path)} has more than {LARGEST_LIST >> 20} MB: is it a list?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"{printable(path)} is not a text file: save it as UTF-8")
    return text


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as comma-separated values."""
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def file_names(parts: Sequence[str]) -> tuple[str, str]:
    """Return name and stem of a file, as `comparable`."""
    name = comparable(parts[-1])
    return name, PurePath(name).stem


def comparable(name: str) -> str:
    """Return a name in the one form in which names of files and labels are compared (NFC).

    Some systems compose the names of files, some take them apart.
    """
    return unicodedata.normalize("NFC", name)


def printable(name: str | Path) -> str:
    """Return a name as it may be printed: what is not printable, as an escape."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(name)
    )


def counted(number: int, noun: str) -> str:
    """Return ``"1 recording"``, ``"1,200 recordings"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def reason(error: Exception) -> str:
    """Return why a file or folder cannot be used, without its name."""
    return getattr(error, "strerror", None) or str(error)


def _as_labels(name: str, rows: Sequence[tuple[int, list[str]]]) -> Labels:
    header = [printable(cell.lower()) for cell in rows[0][1]] if rows else []
    if len(header) < 2 or not all(header):
        raise UsageError(
            f"{name} has no header of two columns or more: let its first line name them, "
            "such as speaker and gender, between tabs or commas"
        )
    if len(set(header[1:])) < len(header) - 1:
        raise UsageError(f"{name} has two columns of one name: give each its own")
    found: dict[str, Label] = {}
    for line, cells in rows[1:]:
        if len(cells) > len(header):
            raise UsageError(
                f"{name}, line {line} has {len(cells)} columns, the header {len(header)}"
            )
        pairs = zip(header[1:], cells[1:], strict=False)
        values = {column: printable(cell) for column, cell in pairs if cell}
        label = Label(values.pop("speaker", ""), tuple(sorted(values.items())))
        key = comparable(cells[0]).removeprefix("./")
        if found.setdefault(key, label) != label:
            raise UsageError(f"{name}, line {line} says something else of {printable(cells[0])!r}")
    return Labels(name, comparable(rows[0][1][0]), _with_ages_grouped(found))


def _with_ages_grouped(rows: Mapping[str, Label]) -> Mapping[str, Label]:
    """Return the labels with children and adults for ages, if there are too many ages."""
    ages = {value for label in rows.values() for name, value in label.labels if name == "age"}
    try:
        years = {age: float(age) for age in ages}
    except ValueError:
        return rows
    if len(ages) <= MOST_AGES or not all(year >= 0 for year in years.values()):
        return rows
    groups = {True: f"under {ADULT}", False: f"{ADULT} or more"}
    return {
        key: replace(
            label,
            labels=tuple(
                (name, groups[years[value] < ADULT] if name == "age" else value)
                for name, value in label.labels
            ),
        )
        for key, label in rows.items()
    }
