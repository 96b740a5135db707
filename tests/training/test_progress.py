import io

import pytest
from rich.console import Console

from membrane.console import View
from membrane.training.progress import LINE_EVERY, shown


@pytest.fixture
def told():
    """Run a training of 200 steps and return what a person sees of it."""

    def run(*, quiet=False, first=0, **console):
        screen = io.StringIO()
        view = View(notes=Console(file=screen, **console), quiet=quiet)
        with shown(view, first=first, last=200) as progress:
            for step in range(first + 1, 201):
                progress.step(step, loss=1 / step)
                if step == 150:
                    progress.validated(12.34)
                    view.note("Validation")
        return screen.getvalue()

    return run


def test_a_pipe_gets_a_line_every_hundred_steps(told):
    lines = told().splitlines()
    assert len(lines) == 200 // LINE_EVERY + 1
    assert lines[0].startswith("Step 100 of 200: loss 0.0519, 0:00:0")
    assert lines[0].endswith(" left")
    assert ", EER 12.3 %, 0:00:00 left" in lines[2]


def test_what_was_done_before_counts_as_done(told):
    assert told(first=120).splitlines()[-1].startswith("Step 200 of 200: loss 0.0064, EER")


def test_a_terminal_gets_a_bar_with_loss_error_and_time_left(told):
    screen = told(force_terminal=True, width=60, color_system=None)
    last = screen.splitlines()[-2]
    assert "200/200" in last
    assert "loss 0.005" in last
    assert "EER 12.3 %" in last
    assert "0:00:00" in last


def test_the_bar_fits_in_sixty_columns(told):
    import re

    screen = told(force_terminal=True, width=60, color_system=None)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert max(len(line) for line in re.split(r"[\r\n]", plain)) <= 60


def test_quiet_shows_nothing(told):
    assert told(quiet=True) == ""
