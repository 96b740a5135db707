"""All that a person sees: panels, tables, prompts and notes, in sixty columns or more.

Answers go to standard output, everything else to standard error. A terminal gets panels; a pipe
and a screen reader get the same as plain lines.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from membrane.errors import Declined, OutputUnwritable

if TYPE_CHECKING:
    from rich.progress import TaskID

    from membrane.audio.devices import InputDevice
    from membrane.audio.quality import Quality
    from membrane.authenticator import Enrolment
    from membrane.decision import Decision
    from membrane.models import Model, Status

Rows = Sequence[tuple[str, str]]

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories that could move the cursor or turn the line round: shown as code points."""

WIDEST = 76
"""Columns of a panel at most; longer lines are hard to follow."""


def shown(text: str) -> str:
    """Return text with everything escaped that a terminal would obey instead of show."""
    return "".join(
        f"\\u{ord(letter):04x}" if unicodedata.category(letter) in UNSEEN else letter
        for letter in text
    )


class View:
    """What a person sees of one command.

    Parameters
    ----------
    answers, notes : rich.console.Console, optional
        Where results go, and where everything else goes; standard output and error by default.
    as_json : bool
        Answer with one JSON object.
    quiet : bool
        Show no notes.
    """

    def __init__(
        self,
        answers: Console | None = None,
        notes: Console | None = None,
        *,
        as_json: bool = False,
        quiet: bool = False,
    ) -> None:
        self.answers = answers or Console(highlight=False)
        self.notes = notes or Console(stderr=True, highlight=False)
        self.as_json = as_json
        self.quiet = quiet

    # ---- Notes: what goes on, on standard error

    def note(self, text: str) -> None:
        """Say what happens now."""
        if not self.quiet:
            self._print(self.notes, Text(shown(text)))

    def warn(self, text: str) -> None:
        """Say what somebody should know, also when quiet."""
        self._print(self.notes, Text(shown(text), style="yellow"))

    def error(self, text: str) -> None:
        """Say why a command ends, in one line."""
        line = Text.assemble(("Error: ", "bold red"), " ".join(shown(text).split()))
        self._print(self.notes, line, soft_wrap=True)

    def prompt(self, text: str) -> None:
        """Show the phrase that is to be said: needed even when quiet."""
        self._print(self.notes, Text.assemble("Please say:  ", (shown(text), "bold")))

    def ask(self, question: str) -> str:
        """Ask a person for a line; the end of the input leaves.

        Raises
        ------
        Declined
            If there is no answer.
        """
        self._print(self.notes, Text(shown(question)), end=" ")
        try:
            return input().strip()
        except EOFError:
            self._print(self.notes, Text(""))
            raise Declined("nothing was done: no answer was given") from None

    def confirm(self, question: str) -> bool:
        """Ask a person a question that only a clear yes agrees to."""
        return self.ask(f"{question} [y/N]").lower() in {"y", "yes"}

    # ---- Answers, on standard output

    def json(self, value: object) -> None:
        """Answer with one JSON value on a line."""
        self._write(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")

    def line(self, text: str) -> None:
        """Answer with one line of plain text."""
        self._print(self.answers, Text(shown(text)), soft_wrap=True)

    def decision(self, decision: Decision) -> None:
        """Answer with a decision."""
        if self.as_json:
            self.json(decision.as_json())
            return
        title = TITLES[decision.command][not decision.accepted]
        rows = [*_voice_rows(decision), *_words_rows(decision), *_sound_rows(decision)]
        rows += [("time", f"{sum(decision.timings.values()):.2f} s")]
        self._panel(title, decision.reason, rows, good=decision.accepted)
        if decision.candidates:
            self._table(
                ("", "name", "similarity"),
                [
                    (str(rank), one.name, f"{one.similarity:.3f}")
                    for rank, one in enumerate(decision.candidates, start=1)
                ],
            )

    def enrolment(self, enrolment: Enrolment, *, added: bool = False) -> None:
        """Answer with a person who has been enrolled."""
        voiceprint = enrolment.voiceprint
        if enrolment.also_known_as:
            self.warn(
                f"This voice is enrolled as {enrolment.also_known_as} already: "
                "if they are not the same person, tell whoever keeps this database."
            )
        if self.as_json:
            self.json(
                {
                    "command": "enroll",
                    "name": voiceprint.name,
                    "phrases": len(voiceprint.utterances),
                    "passphrase": bool(voiceprint.passphrase),
                    "encoder": voiceprint.encoder,
                    "also_known_as": enrolment.also_known_as or None,
                }
            )
            return
        spoken = sum(utterance.quality.speech_s for utterance in voiceprint.utterances)
        rows = [
            ("phrases", f"{len(voiceprint.utterances)}, {spoken:.1f} s of speech"),
            ("words", "a passphrase of their own" if voiceprint.passphrase else "fresh each time"),
        ]
        done = "has more phrases now" if added else "is enrolled"
        self._panel("Enrolled", f"{voiceprint.name} {done}.", rows, good=True)

    def people(self, people: Iterable[dict[str, Any]]) -> None:
        """Answer with everybody who is enrolled."""
        rows = list(people)
        if self.as_json:
            self.json(rows)
        elif not rows:
            self.line("Nobody is enrolled yet: membrane enroll")
        else:
            self._table(
                ("name", "phrases", "words", "updated"),
                [
                    (
                        row["name"],
                        str(row["phrases"]),
                        "passphrase" if row["passphrase"] else "fresh",
                        row["updated_at"][:10],
                    )
                    for row in rows
                ],
            )

    def devices(self, devices: Sequence[InputDevice]) -> None:
        """Answer with the microphones of this machine."""
        if self.as_json:
            self.json([vars(device) for device in devices])
        elif not devices:
            self.line("No microphone was found: connect one, or use --with-file")
        else:
            self._table(
                ("", "number", "name", "channels", "rate"),
                [
                    (
                        "default" if device.default else "",
                        str(device.index),
                        device.name,
                        str(device.channels),
                        f"{device.sample_rate} Hz",
                    )
                    for device in devices
                ],
            )

    def models(self, statuses: Sequence[Status]) -> None:
        """Answer with the model files and whether they are there."""
        rows: list[dict[str, Any]] = [
            {
                "name": status.model.name,
                "engine": status.model.engine,
                "state": status.state,
                "bytes": status.model.size,
                "licence": status.model.licence,
                "problem": status.problem,
            }
            for status in statuses
        ]
        if self.as_json:
            self.json(rows)
            return
        self._table(
            ("name", "state", "size", "licence"),
            [
                (row["name"], row["state"], f"{row['bytes'] / 1e6:.1f} MB", row["licence"])
                for row in rows
            ],
        )

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[Model, int], None]]:
        """Show a progress bar while models are fetched; yields what is told of each step."""
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        columns = (TextColumn("{task.description}"), BarColumn(None), DownloadColumn(), TimeLeft())
        hidden = self.quiet or not self.notes.is_terminal
        with Progress(*columns, console=self.notes, disable=hidden) as bar:
            tasks: dict[str, TaskID] = {}

            def report(model: Model, done: int) -> None:
                if model.name not in tasks:
                    tasks[model.name] = bar.add_task(model.name, total=model.size)
                bar.update(tasks[model.name], completed=done)

            self.note(title)
            yield report

    # ---- How answers are drawn

    def _panel(self, title: str, text: str, rows: Rows, *, good: bool) -> None:
        if not self.answers.is_terminal:
            self.line(f"{title}. {text}")
            for name, value in rows:
                self.line(f"{name}: {value}")
            return
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        for name, value in rows:
            grid.add_row(Text(name, style="dim"), Text(shown(value)))
        colour = "green" if good else "red"
        body = Group(Text(shown(text), style="bold"), "", grid)
        width = min(self.answers.width, WIDEST)
        self._print(
            self.answers,
            Panel(body, title=title, title_align="left", border_style=colour, width=width),
        )

    def _table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if not self.answers.is_terminal:
            # Tabs between columns, as cut and awk expect; a name can hold no tab.
            for row in rows:
                self._write("\t".join(map(shown, row)) + "\n")
            return
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for head in heads:
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(cell)) for cell in row))
        self._print(self.answers, table)

    def _print(self, console: Console, what: Any, **options: Any) -> None:
        try:
            console.print(what, **options)
        except OSError as error:
            raise OutputUnwritable(f"the output cannot be written: {error.strerror}") from None

    def _write(self, text: str) -> None:
        try:
            self.answers.file.write(text)
            self.answers.file.flush()
        except OSError as error:
            raise OutputUnwritable(f"the output cannot be written: {error.strerror}") from None


TITLES = {
    "verify": ("Accepted", "Refused"),
    "identify": ("Recognised", "Not recognised"),
    "compare": ("Same person", "Different people"),
}


def _voice_rows(decision: Decision) -> Rows:
    voice = decision.voice
    if voice is None:
        return []
    if voice.metric == "cosine":
        return [("voice", f"similarity {voice.value:.3f}, at least {voice.threshold:.3f} needed")]
    return [("voice", f"distance {voice.value:.3f}, at most {voice.threshold:.3f} allowed")]


def _words_rows(decision: Decision) -> Rows:
    if decision.command != "verify":
        return []
    words = decision.words
    if words is None:
        return [("words", "not checked")]
    if not words.expected:
        return [("words", "the passphrase" if words.accepted else "not the passphrase")]
    if words.accepted:
        return [("words", f"right: {words.expected}")]
    return [("words", f"asked: {words.expected}"), ("", f"heard: {words.heard or 'nothing'}")]


def _sound_rows(decision: Decision) -> Rows:
    return [("sound", describe(decision.quality) + (", denoised" if decision.denoised else ""))]


def describe(quality: Quality) -> str:
    """Return a quality in words."""
    return f"{quality.speech_s:.1f} s of speech, {quality.snr_db:.0f} dB above the noise"


def at_terminal() -> bool:
    """Return whether a person can be asked: both ends of the conversation are a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
