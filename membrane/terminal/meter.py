"""The level meter: what the microphone hears, drawn while it hears it."""

import time
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from membrane.audio.capture import Level

QUIETEST_DBFS = -60.0
"""The left end of the bar; the right end is full scale."""

FALL_DB_PER_S = 30.0
"""How fast the bar falls back, so that a syllable can be seen."""

FRAME_S = 1 / 15
"""Seconds between two drawings."""

WARNING_S = 1.5
"""Seconds that a warning stays, long enough to be read."""

TOO_QUIET_DBFS = -40.0
"""Peaks of speech below this: 20 dB under what the recognizer and the encoder are used to."""

QUIET_AFTER_S = 0.5
"""Seconds of speech in a row, without a louder peak, before it is called too quiet."""

WIDEST_BAR = 40
BESIDE_BAR = 6
"""Columns for the per cent, and one left free: some terminals wrap in the last."""


class LevelMeter:
    """A bar that follows the level, and a line below it that says what to do about it.

    A context manager; `show` is the `on_level` of `membrane.audio.microphone.Recorder`. It
    disappears at the end. Where the console is no terminal, nothing is drawn.

    Parameters
    ----------
    label : str
        What the person is asked to do; a line above the bar.
    """

    def __init__(self, console: Console, label: str) -> None:
        self._label = label
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._level_dbfs = QUIETEST_DBFS
        self._drawn_at = 0.0
        self._seen_at = 0.0
        self._loud_until = 0.0
        self._speech_since: float | None = None
        self._quiet_until = 0.0

    def __enter__(self) -> Self:
        if self._draws:
            self._live.start()
            self._draw(time.monotonic())
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def _draws(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def show(self, level: Level) -> None:
        """Take the newest level, and draw it if the last drawing is old enough."""
        now = time.monotonic()
        fallen = self._level_dbfs - FALL_DB_PER_S * (now - self._seen_at)
        self._level_dbfs = max(level.peak_dbfs, fallen)
        self._seen_at = now
        self._notice(level, now)
        if self._draws and now - self._drawn_at >= FRAME_S:
            self._draw(now)

    def _notice(self, level: Level, now: float) -> None:
        if level.clipping:
            self._loud_until = now + WARNING_S
        if not level.speaking or level.peak_dbfs > TOO_QUIET_DBFS:
            self._speech_since = None
        elif self._speech_since is None:
            self._speech_since = now
        elif now - self._speech_since > QUIET_AFTER_S:
            self._quiet_until = now + WARNING_S

    def _draw(self, now: float) -> None:
        warning = self.warning(now)
        label = Text(self._label, overflow="fold")
        bar = self._bar("red" if warning else "green")
        picture = Group(label, bar, Text(warning or " ", style="bold red"))
        self._live.update(picture, refresh=True)
        self._drawn_at = now

    def warning(self, now: float) -> str:
        """Return what the person should do, at a moment of `time.monotonic`; empty if nothing."""
        if now < self._loud_until:
            return "too loud: move back"
        if now < self._quiet_until:
            return "too quiet: speak closer"
        return ""

    def _bar(self, style: str) -> Text:
        share = min(max(1 - self._level_dbfs / QUIETEST_DBFS, 0.0), 1.0)
        width = max(min(self._console.width - BESIDE_BAR, WIDEST_BAR), 1)
        full, empty = ("#", "-") if self._console.options.ascii_only else ("█", "░")
        filled = round(share * width)
        return Text.assemble(
            (full * filled, style), (empty * (width - filled), "dim"), f" {share:4.0%}"
        )
