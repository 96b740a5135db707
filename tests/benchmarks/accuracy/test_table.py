import json
from math import nan

import pytest

from benchmarks.accuracy import table
from benchmarks.accuracy.cells import Cell, Row
from membrane.evaluation.intervals import Estimate


def row(*rates, costs=(0.1, 0.2), ours=(True, False)):
    cells = [
        Cell(
            *(name, {"eer": Estimate(rate, rate, rate), "min_dcf_01": Estimate(cost)}, rate, 0),
            ours=own,
        )
        for name, rate, cost, own in zip(("Membrane", "another"), rates, costs, ours, strict=True)
    ]
    return Row("corpus", "clean", 10, 1, tuple(cells))


def test_a_number_that_another_system_beats_is_marked():
    beaten = row(0.05, 0.04)
    assert table.is_beaten(beaten, beaten.cells[0], "eer")
    assert table.number_of(beaten, beaten.cells[0], "eer", bold="<{}>") == "5.0† (5.0–5.0)"
    assert table.number_of(beaten, beaten.cells[1], "eer", bold="<{}>") == "<4.0 (4.0–4.0)>"


def test_a_tie_is_no_defeat():
    tie = row(0.04, 0.04)
    assert not table.is_beaten(tie, tie.cells[0], "eer")
    assert table.number_of(tie, tie.cells[0], "eer", bold="<{}>") == "<4.0 (4.0–4.0)>"


def test_an_encoder_of_membrane_is_not_beaten_by_another_of_its_own():
    encoders = row(0.05, 0.04, ours=(True, True))
    assert not table.is_beaten(encoders, encoders.cells[0], "eer")
    assert table.number_of(encoders, encoders.cells[0], "eer", bold="<{}>") == "5.0 (5.0–5.0)"
    assert "in all of 2 numbers" in table.summary([encoders])


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ((0.05, 0.04), "not the best in 1 of 2 numbers. corpus: clean (EER)."),
        ((0.04, 0.05), "in all of 2 numbers"),
    ],
)
def test_the_summary_says_where_membrane_is_not_the_best(rates, said):
    assert said in table.summary([row(*rates)])


def test_a_number_without_an_interval_is_shown_alone():
    assert table.shown("eer", Estimate(0.0312)) == "3.1"


def test_what_is_not_a_number_is_null_in_json():
    assert json.dumps(table.finite({"low": nan, "rows": ({"high": 1.0},)})) == (
        '{"low": null, "rows": [{"high": 1.0}]}'
    )
