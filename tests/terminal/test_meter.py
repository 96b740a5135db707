import io

import pytest
from rich.console import Console
from rich.text import Text

from membrane.audio.capture import Level
from membrane.terminal import meter
from membrane.terminal.meter import LevelMeter

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Clock:
    """Time that goes by only when told to."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(meter, "time", clock)
    return clock


def console_of(width=60, **options):
    options.setdefault("force_terminal", True)
    return Console(
        file=io.StringIO(), width=width, height=20, _environ={"TERM": "xterm"}, **options
    )


def level(peak_dbfs, *, clipping=False, speaking=False):
    return Level(peak_dbfs, clipping, speaking)


def play(shown, clock, levels, step_s=0.02):
    for one in levels:
        clock.now += step_s
        shown.show(one)


def drawn(console):
    """Return the lines of the last drawing, without colours."""
    text = console.file.getvalue().split("\x1b[2K")[-1]
    return Text.from_ansi(text).plain.splitlines()


def test_half_the_range_fills_half_the_bar(clock):
    console = console_of()
    with LevelMeter(console, "Listening to you") as shown:
        play(shown, clock, [level(-30.0)] * 5)
        label, bar, _ = drawn(console)[:3]
    assert label.strip() == "Listening to you"
    assert bar.strip() == "█" * 20 + "░" * 20 + "  50%"


@pytest.mark.parametrize("peak_dbfs", [-120.0, -60.0, 0.0, 3.0])
@pytest.mark.parametrize("width", [12, 20, 40, 60, 200])
def test_no_line_is_wider_than_the_terminal(clock, peak_dbfs, width):
    console = console_of(width)
    with LevelMeter(console, "Listening") as shown:
        play(shown, clock, [level(peak_dbfs, clipping=True)] * 10)
        lines = drawn(console)
    assert max(len(line.rstrip()) for line in lines) <= width


def test_drawing_is_at_least_ten_and_at_most_twenty_times_a_second(clock):
    console = console_of()
    with LevelMeter(console, "Listening") as shown:
        before = console.file.getvalue().count("%")
        play(shown, clock, [level(-20.0)] * 100)
        pictures = console.file.getvalue().count("%") - before
    assert 20 <= pictures <= 40


def test_bar_falls_back_slowly_enough_to_see_a_syllable(clock):
    console = console_of()
    with LevelMeter(console, "Listening") as shown:
        play(shown, clock, [level(-6.0)] + [level(-60.0)] * 25)
        assert 60 <= int(drawn(console)[1].split()[-1].rstrip("%")) <= 70


def test_clipping_asks_to_move_back_for_long_enough_to_read_it(clock):
    with LevelMeter(console_of(), "Listening") as shown:
        play(shown, clock, [level(0.0, clipping=True)])
        assert shown.warning(clock.now + 1.4) == "too loud: move back"
        assert shown.warning(clock.now + 1.6) == ""


def test_quiet_speech_asks_to_speak_closer(clock):
    with LevelMeter(console_of(), "Listening") as shown:
        play(shown, clock, [level(-45.0, speaking=True)] * 50)
        assert shown.warning(clock.now) == "too quiet: speak closer"


@pytest.mark.parametrize(
    "levels",
    [
        [level(-70.0)] * 100,
        [level(-45.0, speaking=True)] * 10,
        [level(-45.0, speaking=True)] * 20 + [level(-20.0, speaking=True)] * 5,
        ([level(-45.0, speaking=True)] * 20 + [level(-20.0, speaking=True)]) * 5,
    ],
    ids=["silence", "a moment", "then loud", "between loud syllables"],
)
def test_nothing_else_is_called_too_quiet(clock, levels):
    with LevelMeter(console_of(), "Listening") as shown:
        play(shown, clock, levels)
        assert shown.warning(clock.now) == ""


def test_warning_is_read_below_the_bar(clock):
    console = console_of()
    with LevelMeter(console, "Listening") as shown:
        play(shown, clock, [level(0.0, clipping=True)] * 5)
        assert drawn(console)[2].strip() == "too loud: move back"


def test_nothing_is_drawn_where_there_is_no_terminal(clock):
    console = console_of(force_terminal=False)
    with LevelMeter(console, "Listening") as shown:
        play(shown, clock, [level(-20.0, clipping=True)] * 100)
    assert console.file.getvalue() == ""


def test_nothing_is_drawn_on_a_terminal_that_cannot_go_back():
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    with LevelMeter(console, "Listening") as shown:
        shown.show(level(-20.0))
    assert console.file.getvalue() == ""


def test_no_colour_is_used_where_none_is_wanted(clock):
    console = console_of(no_color=True, color_system="truecolor")
    with LevelMeter(console, "Listening") as shown:
        play(shown, clock, [level(-20.0, clipping=True)] * 10)
    assert "\x1b[31m" not in console.file.getvalue()
    assert "\x1b[32m" not in console.file.getvalue()
    assert "38;" not in console.file.getvalue()


def test_plain_letters_are_used_where_the_terminal_has_no_others(clock):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, force_terminal=True, width=60, _environ={"TERM": "xterm"})
    with LevelMeter(console, "Listening") as shown:
        play(shown, clock, [level(-30.0)] * 5)
    file.flush()
    assert b"#" * 20 in file.buffer.getvalue()


def test_cursor_comes_back_after_an_interrupt(clock):
    console = console_of()
    shown = LevelMeter(console, "Listening")
    with pytest.raises(KeyboardInterrupt), shown:
        raise KeyboardInterrupt
    written = console.file.getvalue()
    assert 0 <= written.index(HIDE_CURSOR) < written.rindex(SHOW_CURSOR)
