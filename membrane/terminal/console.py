"""All that a person sees: panels, tables, prompts and notes, in sixty columns or more.

Answers go to standard output, everything else to standard error. A terminal gets panels; a pipe
and a screen reader get the same as plain lines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from membrane.errors import Declined, OutputUnwritable
from membrane.terminal.text import escaped

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from membrane.audio.devices import InputDevice
    from membrane.login.decision import Candidate, Decision
    from membrane.login.enrol import Enrolment
    from membrane.login.protect import Protection
    from membrane.models.registry import Model, Status
    from membrane.store.log.decision_log import LogCheck
    from membrane.voice.voice import VoiceMatch

Rows = Sequence[tuple[str, str]]

WIDE = 120
"""Columns from which a table shows the intervals of several rates side by side."""

WIDEST = 76
"""Columns of a panel at most; longer lines are hard to follow."""


class _Screen(Console):
    """A console that tells when nobody reads it, where Rich would exit with 1: not let in."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 (called while the BrokenPipeError is handled)


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
        self.answers = answers or _Screen(highlight=False)
        self.notes = notes or _Screen(stderr=True, highlight=False)
        self.as_json = as_json
        self.quiet = quiet

    @property
    def wide(self) -> bool:
        """Whether a line has room for three intervals; a pipe always has."""
        return not self.answers.is_terminal or self.answers.width >= WIDE

    # ---- Notes: what goes on, on standard error

    def note(self, text: str) -> None:
        """Say what happens now."""
        if not self.quiet:
            self._tell(Text(escaped(text)))

    def warn(self, text: str) -> None:
        """Say what somebody should know, also when quiet."""
        self._tell(Text(escaped(text), style="yellow"))

    def error(self, text: str) -> None:
        """Say why a command ends, in one line."""
        self._tell(Text.assemble(("Error: ", "bold red"), escaped(" ".join(text.split()))))

    def prompt(self, phrase: str) -> None:
        """Show the phrase that is to be said: needed even when quiet."""
        self._tell(Text.assemble("Please say:  ", (escaped(phrase), "bold")))

    def request(self, text: str) -> None:
        """Ask for words that are not shown: needed even when quiet."""
        self._tell(Text(escaped(text), style="bold"))

    def _tell(self, text: Text, *, end: str = "\n") -> None:
        # Who cannot be told is not to be let in, or kept out, for that.
        with suppress(OSError):
            self.notes.print(text, end=end, soft_wrap=not self.notes.is_terminal)

    def ask(self, question: str) -> str:
        """Ask a person for a line; the end of the input leaves.

        Raises
        ------
        Declined
            If there is no answer.
        """
        forget_keys()
        try:
            self._tell(Text(escaped(question)), end=" ")
            return input().strip()
        except (EOFError, KeyboardInterrupt) as end:
            self._tell(Text(""))
            if isinstance(end, KeyboardInterrupt):
                raise
            raise Declined("nothing was done: no answer was given") from None

    def secret(self, question: str) -> str:
        """Ask a person for something that is not to be seen.

        Raises
        ------
        Declined
            If there is no answer.
        """
        from getpass import getpass

        forget_keys()
        try:
            # It asks when what is typed is hidden already: whoever is quick is not seen either.
            return getpass(escaped(question), stream=sys.stderr)
        except EOFError:
            raise Declined("nothing was done: no answer was given") from None

    def confirm(self, question: str) -> bool:
        """Ask a person a question that only a clear yes agrees to."""
        return self.ask(f"{question} [y/N]").lower() in {"y", "yes"}

    # ---- Answers, on standard output

    def json(self, value: object) -> None:
        """Answer with one JSON value on a line."""
        self.text(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")

    def line(self, text: str) -> None:
        """Answer with one line of plain text."""
        self._print(Text(escaped(text)), soft_wrap=True)

    def text(self, text: str) -> None:
        """Answer with lines as they are, for a program to read."""
        with _written():
            self.answers.file.write(text)
            self.answers.file.flush()

    def decision(self, decision: Decision) -> None:
        """Answer with a decision."""
        if self.as_json:
            self.json(decision.as_json())
            return
        title = TITLES[decision.command][not decision.accepted]
        rows = [
            *_voice_rows(decision),
            *_words_rows(decision),
            ("sound", _sound(decision)),
            ("time", f"{sum(decision.timings.values()):.2f} s"),
        ]
        self._panel(title, decision.reason, rows, good=decision.accepted)
        if decision.voice is not None and decision.candidates:
            self.table(*_ranking(decision.voice, decision.candidates))
        if decision.explanation is not None:
            from membrane.terminal.explaining_view import drawn

            plain = not self.answers.is_terminal
            self._print(drawn(decision, plain=plain), soft_wrap=plain)

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
        title, now = ("Added", "has more phrases") if added else ("Enrolled", "can log in by voice")
        self._panel(title, f"{voiceprint.name} {now} now.", rows, good=True)

    def people(self, people: Iterable[dict[str, Any]], *, encoder: str) -> None:
        """Answer with everybody who is enrolled.

        Parameters
        ----------
        people : iterable of dict
            As `Gallery.summaries` returns them.
        encoder : str
            The one in use; encoders are shown only where somebody was enrolled with another.
        """
        rows = sorted(people, key=lambda row: str(row["name"]).casefold())
        if self.as_json:
            self.json(rows)
        elif not rows:
            self.note("Nobody is enrolled yet: see `membrane enroll --help`.")
        else:
            columns = {
                "name": [row["name"] for row in rows],
                "phrases": [str(row["phrases"]) for row in rows],
                "words": ["passphrase" if row["passphrase"] else "fresh" for row in rows],
                "updated": [row["updated_at"][:10] for row in rows],
            }
            if {row["encoder"] for row in rows} != {encoder}:
                columns["encoder"] = [row["encoder"] for row in rows]
            self.table(list(columns), list(zip(*columns.values(), strict=True)))
        for row in rows:
            self.warn_of_retention(row["name"], row["keep_until"])

    def warn_of_retention(self, name: str, keep_until: str) -> None:
        """Say that somebody's record should be gone, if it should; see `login.retention`."""
        from membrane.login.retention import warning

        if due := warning(name, keep_until, date.today()):
            self.warn(due)

    def protection(self, protection: Protection) -> None:
        """Answer with how the database is protected."""
        if self.as_json:
            self.json(protection.as_json())
        elif not protection.source:
            self._panel("Not encrypted", "The database can be read by its owner.", [], good=False)
        else:
            text = "The database is encrypted."
            if not protection.finished:
                text += " A change was interrupted: run the same command again."
            epoch = protection.epoch[:8]
            rows = [
                ("people", str(protection.people)),
                ("key", KEYS[protection.source]),
                ("memory", "may be swapped out"),
                ("voices", f"turned, epoch {epoch}" if epoch else "as heard"),
            ]
            self._panel("Encrypted", text, rows, good=protection.finished)

    def log_entries(self, entries: Iterable[dict[str, Any]], names: Mapping[str, str]) -> None:
        """Answer with what the decision log holds, oldest first.

        Parameters
        ----------
        entries : iterable of dict
            As `DecisionLog.entries` returns them.
        names : mapping of str to str
            Who is meant by a number of the log; whoever is not there is nobody any more.
        """
        # What somebody wrote into the log by hand is shown as well, whatever it is.
        named = [{**entry, "name": names.get(str(entry.get("who", "")), "")} for entry in entries]
        if self.as_json:
            self.json(named)
        else:
            self.table(("time", "event", "who", "outcome"), [_log_row(entry) for entry in named])

    def log_check(self, check: LogCheck) -> None:
        """Answer with what is wrong with the decision log."""
        if self.as_json:
            self.json({"lines": check.lines, "problems": list(check.problems)})
        else:
            for line in check.problems or [f"The log is whole. Lines: {check.lines}."]:
                self.line(line)

    def devices(self, devices: Sequence[InputDevice]) -> None:
        """Answer with the microphones of this machine."""
        if self.as_json:
            self.json([vars(device) for device in devices])
        elif not devices:
            self.note("No microphone was found: connect one, or use --with-file.")
        else:
            self.table(
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
        if self.as_json:
            self.json(
                [
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
            )
        else:
            rows = [
                (one.model.name, one.state, f"{one.model.size / 1e6:.1f} MB", one.model.licence)
                for one in statuses
            ]
            self.table(("name", "state", "size", "licence"), rows)

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[Model, int], None]]:
        """Show a progress bar while models are fetched; yields what is told of each step."""
        from rich.progress import DownloadColumn

        with self._bar(DownloadColumn()) as bar:
            tasks: dict[str, TaskID] = {}

            def report(model: Model, done: int) -> None:
                if model.name not in tasks:
                    tasks[model.name] = bar.add_task(model.name, total=model.size)
                bar.update(tasks[model.name], completed=done)

            self.note(title)
            yield report

    @contextmanager
    def counting(self, title: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """Show how many of a known number are done, how fast, and the time left."""
        from rich.progress import MofNCompleteColumn, ProgressColumn, Task

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.finished_speed or task.speed or 0:.1f}/s")

        with self._bar(MofNCompleteColumn(), Rate()) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def _bar(self, *columns: ProgressColumn) -> Progress:
        """Return a progress bar with these columns before the time left."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        return Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            *columns,
            TimeRemainingColumn(),
            console=self.notes,
            disable=self.quiet or not self.notes.is_terminal,
        )

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
            grid.add_row(Text(name, style="dim"), Text(escaped(value)))
        self._print(
            Panel(
                Group(Text(escaped(text), style="bold"), "", grid),
                title=title,
                title_align="left",
                border_style="green" if good else "red",
                width=min(self.answers.width, WIDEST),
            )
        )

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Answer with rows under heads; without a terminal, with lines and tabs."""
        if not self.answers.is_terminal:
            # Tabs between columns, as cut and awk expect; a name can hold no tab.
            for row in rows:
                self.text("\t".join(map(escaped, row)) + "\n")
            return
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for head in heads:
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(*(Text(escaped(cell)) for cell in row))
        self._print(table)

    def _print(self, what: Any, **options: Any) -> None:
        with _written():
            self.answers.print(what, **options)


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputUnwritable(f"the output cannot be written: {error.strerror}") from None


TITLES = {
    "verify": ("Accepted", "Refused"),
    "identify": ("Recognised", "Not recognised"),
    "compare": ("Same person", "Different people"),
}


WORTH = {
    "verify": ("yours", "a stranger's", "you are let in"),
    "identify": ("theirs", "a stranger's", "they are recognised"),
    "compare": ("one person's", "two people's", "they count as one person"),
}
"""Whose voice it is likelier to be than whose, by command, and what follows above the bound."""


KEYS = {
    "keyring": "in the keyring of the system",
    "environment": "in MEMBRANE_KEY",
    "passphrase": "from a passphrase",
}
"""Where the key of an encrypted database is, in words."""


def _log_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    refused_by = entry.get("refused_by", [])
    checks = refused_by if isinstance(refused_by, list) else [refused_by]
    refused = f"refused: {', '.join(map(str, checks))}"
    outcome = ("accepted" if entry["accepted"] else refused) if "accepted" in entry else ""
    return (
        str(entry.get("time", ""))[:19],
        str(entry.get("event") or entry.get("log", "")),
        entry["name"] or str(entry.get("who", ""))[:16],
        outcome,
    )


def _measure(voice: VoiceMatch) -> str:
    return "similarity" if voice.metric == "cosine" else "distance"


def _voice_rows(decision: Decision) -> Rows:
    from membrane.voice.ratio import ratio_as_number, ratio_in_words

    voice = decision.voice
    if voice is None or decision.numbers_hidden:
        return []
    alike = f"{_measure(voice)} {voice.value:.3f}"
    if voice.score is not None and voice.score_threshold is not None:
        one, other, passing = WORTH[decision.command]
        worth = ratio_in_words(voice.score, one, other)
        needed = f"{passing} above {ratio_as_number(voice.score_threshold)}"
        rows = [("voice", f"{worth}; {needed}"), ("alike", alike)]
    else:
        bound = "at least {} needed" if voice.metric == "cosine" else "at most {} allowed"
        rows = [("voice", f"{alike}, {bound.format(f'{voice.threshold:.3f}')}")]
    if voice.mixed:
        least = f"similarity {voice.stretch:.3f}, at least {voice.stretch_threshold:.3f} needed"
        rows.append(("a part", least))
    return rows


def _ranking(
    voice: VoiceMatch, candidates: Sequence[Candidate]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return heads and rows of the most alike people, with the number that they have in common."""
    from membrane.voice.scoring import metric_named

    in_metric = metric_named(voice.metric).from_similarity
    mixed = len({one.encoder for one in candidates}) > 1
    rows = []
    for rank, one in enumerate(candidates, start=1):
        worth = one.score if mixed else None
        number = f"{in_metric(one.similarity):.3f}" if worth is None else f"{worth:.2f}"
        rows.append((str(rank), one.name, number, *([one.encoder] if mixed else [])))
    measure = "score" if mixed and voice.score is not None else _measure(voice)
    return ("", "name", measure, *(["encoder"] if mixed else [])), rows


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
    return [("asked", words.expected), ("heard", words.heard or "nothing")]


def _sound(decision: Decision) -> str:
    quality = decision.quality
    sound = f"{quality.speech_s:.1f} s of speech, {quality.snr_db:.0f} dB above the noise"
    denoised = f", denoised for {' and '.join(decision.denoised_for)}" if decision.denoised else ""
    return sound + denoised


def at_terminal() -> bool:
    """Return whether a person can be asked: both ends of the conversation are a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def forget_keys() -> None:
    """Forget what was typed before a question, such as Enter while somebody was speaking."""
    if at_terminal():
        with suppress(ImportError):  # Windows keeps them
            import termios

            termios.tcflush(sys.stdin, termios.TCIFLUSH)
