import io
import math
import re

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from membrane.audio.quality import Quality
from membrane.login.decision import Decision
from membrane.login.explain import Cost, Explanation, Gain, OwnSpread, Strangers, Stretch
from membrane.terminal.console import View
from membrane.terminal.explaining_view import BAR, MOST_STRETCHES, sections
from membrane.voice.voice import VoiceMatch

QUALITY = Quality(speech_s=2.1, snr_db=12.0, level_dbfs=-30.0, clipped=0.0)
MATCH = VoiceMatch(
    metric="cosine",
    similarity=0.81,
    value=0.81,
    threshold=None,
    score=2.0,
    score_threshold=4.0,
    accepted=False,
    stretch=0.6,
    stretch_threshold=0.65,
)
STRETCHES = (Stretch(0.0, 1.6, 0.8, enough=True), Stretch(0.77, 2.37, 0.6, enough=False))
COSTS = (
    Cost("speech", 2.1, None, None),
    Cost("snr", 12.0, 38.0, math.log(3.1)),
    Cost("enrolled", 8.0, 9.0, -math.log(12)),
)


def decision(command="verify", claimed="ada", **changes):
    explanation = Explanation(
        **{
            "verdict": "The ratio falls short by a factor of 7.4.",
            "normalisation": "centre",
            "alike": 0.31,
            "own": OwnSpread(3, 0.55, 0.61, 0.7),
            "strangers": Strangers(300, 0.4, 0.01, 1),
            "strangers_of_person": Strangers(300, 0.3, -0.01, 0),
            "stretches": STRETCHES,
            "stretch_threshold": 0.65,
            "costs": COSTS,
            "gain": Gain(2.1, 2.0, math.log(4)),
            "withheld": False,
            **changes,
        }
    )
    return Decision(
        command, False, "Because.", MATCH, QUALITY, claimed=claimed, explanation=explanation
    )


def answered(made, *, terminal, width=60, file=None):
    answers = Console(
        file=file or io.StringIO(),
        force_terminal=terminal,
        width=width,
        highlight=False,
        _environ={"TERM": "xterm"},
    )
    View(answers, answers).decision(made)
    return "" if file else Text.from_ansi(answers.file.getvalue()).plain


def told(**changes):
    return " ".join(answered(decision(**changes), terminal=False).split())


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", ["ada", "W" * 64, "王" * 64])
def test_no_line_is_wider_than_the_terminal(width, name):
    lines = answered(decision(claimed=name), terminal=True, width=width).splitlines()
    assert max(map(cell_len, lines)) <= width


def test_a_bar_stays_on_one_line_of_sixty_columns():
    text = answered(decision(), terminal=True)
    assert re.search(r"^  0\.8 to 2\.4 +0\.600 #+\.*\|\.+ too low *$", text, re.MULTILINE)
    assert re.search(r"^  0\.0 to 1\.6 +0\.800 #+\|#+\.+ *$", text, re.MULTILINE)


def test_a_pipe_gets_a_line_for_each_fact_in_plain_letters():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    answered(decision(), terminal=False, file=file)
    file.flush()
    lines = file.buffer.getvalue().decode("ascii").splitlines()
    assert "\x1b" not in "".join(lines)
    assert "Why" in lines
    assert "noise: 12 dB cost a factor of 3.1, compared with 38 dB" in lines
    assert all(line and line == line.strip() for line in lines)


def test_every_fact_is_told_in_words():
    text = told()
    assert "recording: 0.310 like ada, less than any of ada's own phrases" in text
    assert "phrases: 0.550 to 0.700, median 0.610: 3 of ada's, each like the others" in text
    assert (
        "the closest of 300 is 0.400 like the recording, the median 0.010; 1 is as like as ada"
        in text
    )
    assert "0.300 like ada, the median -0.010; none is as like as the recording" in text
    assert "speech: 2.1 s: not looked at by this calibration" in text
    assert "8.0 s; with 9.0 s this similarity would count for 12 times less" in text
    assert "2 s more speech score about 4.0 times higher (median, measured)" in text


@pytest.mark.parametrize(
    ("alike", "words"),
    [(0.6, "within the spread of ada's own phrases"), (0.9, "more than any of ada's own phrases")],
)
def test_place_in_the_persons_own_spread_is_told(alike, words):
    assert words in told(alike=alike)


def test_what_is_left_out_is_said_to_be():
    assert "only one: there is no spread" in told(own=None)
    assert "none: nobody is enrolled" in told(own=None, command="compare")
    assert "no cohort" in told(strangers=None, strangers_of_person=None)
    assert "a threshold of your own decides" in told(costs=())
    assert "Nothing that was measured." in told(gain=None)


def test_what_is_withheld_is_found_elsewhere():
    left_out = {"alike": None, "own": None, "strangers": None, "strangers_of_person": None}
    text = told(**left_out, stretches=(), withheld=True)
    assert "How alike Shown by `membrane explain NAME FILE`, for the owner." in text
    assert "Stretches" not in text
    assert "0.31" not in text


def test_a_change_that_rounds_to_none_cost_nothing():
    cost = Cost("snr", 50.0, 40.0, 0.001)
    assert "noise: 50 dB cost nothing" in told(costs=(cost,))


def test_the_first_recording_is_not_called_an_enrolment():
    text = told(command="compare", own=None)
    assert "enrolment" not in text
    assert "the first: 8.0 s" in text


def test_of_a_long_recording_the_least_alike_stretches_are_shown_in_order():
    every = tuple(
        Stretch(number * 0.77, number * 0.77 + 1.6, 0.5 + (number * 37 % 100) / 250, enough=True)
        for number in range(100)
    )
    (rows,) = (
        rows
        for heading, rows in sections(decision(stretches=every))
        if heading.startswith("Stretches")
    )
    assert len(rows) == MOST_STRETCHES + 1
    assert rows[-1] == ("", "the 20 least alike of 100")
    shown = [float(name.partition(" ")[0]) for name, _ in rows[:-1]]
    assert shown == sorted(shown)
    limit = sorted(one.similarity for one in every)[MOST_STRETCHES - 1]
    assert all(float(value.partition(" ")[0]) <= round(limit, 3) for _, value in rows[:-1])


@pytest.mark.parametrize("alike", [-0.3, 0.0, 1.0, 1.0000002])
def test_a_bar_keeps_its_length(alike):
    row = next(
        rows[0][1]
        for heading, rows in sections(decision(stretches=(Stretch(0, 1.6, alike, enough=True),)))
        if heading.startswith("Stretches")
    )
    assert len(row.split()[1]) == BAR + 1


def test_a_decision_without_an_explanation_has_no_sections():
    with pytest.raises(ValueError, match="without an explanation"):
        list(sections(Decision("verify", True, "", MATCH, QUALITY)))


def test_a_name_cannot_move_the_cursor():
    text = answered(decision(claimed="a\x1b[31mb"), terminal=True)
    assert "a\\u001b[31mb" in text
