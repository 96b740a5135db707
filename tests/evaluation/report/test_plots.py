from dataclasses import replace
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from membrane.errors import OutputUnwritable
from membrane.evaluation.metrics import ScoredTrials, det_curve
from membrane.evaluation.report import score_plots
from membrane.evaluation.report.canvas import MOST_POINTS, as_bytes, drawing, short, thinned
from membrane.evaluation.report.plots import PLOTS, draw_all
from membrane.evaluation.report.score_plots import deviate
from membrane.evaluation.report.voice_plots import heard_speakers, similarity, speaker_map
from tests.evaluation.synthetic_evaluation import THRESHOLD, evaluation, outcome

EVERY_NAME = {"det", "scores", "errors", "box", "noise", "similarity", "map"}


@pytest.fixture
def one_condition():
    return evaluation(outcomes=(outcome(),))


def draw_scores(evaluation):
    with drawing():
        draws = (score_plots.det, score_plots.scores, score_plots.errors, score_plots.box)
        return [as_bytes(draw(evaluation), "svg") for draw in draws]


def wanted(evaluation):
    return {plot.name for plot in PLOTS if plot.wanted(evaluation)}


def legend(figure):
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_every_plot_is_a_png_and_an_svg_in_a_folder_that_need_not_exist(tmp_path):
    folder = tmp_path / "new" / "plots"
    paths = draw_all(evaluation(), folder)
    assert sorted(paths) == sorted(folder.iterdir())
    assert {path.stem for path in paths} == EVERY_NAME == {plot.name for plot in PLOTS}
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 400
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


@pytest.mark.parametrize("form", ["svg", "png"])
def test_the_same_evaluation_gives_the_same_bytes(one_condition, form):
    with drawing():
        first, second = (as_bytes(score_plots.scores(one_condition), form) for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first


def test_drawing_leaves_the_callers_settings_alone(one_condition):
    before = dict(mpl.rcParams)
    assert draw_scores(one_condition)
    assert dict(mpl.rcParams) == before


def test_without_noise_there_is_no_plot_of_noise(one_condition):
    assert wanted(one_condition) == EVERY_NAME - {"noise"}


def test_without_trials_of_both_kinds_only_the_voices_are_drawn():
    whole = outcome()
    alone = replace(whole, scored=whole.scored.where(whole.scored.same), measures={})
    assert wanted(evaluation(outcomes=(alone,))) == {"similarity", "map"}


def test_without_three_voices_no_voices_are_drawn(one_condition):
    one_condition.vectors[2:] = np.nan
    assert not wanted(one_condition) & {"similarity", "map"}


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path, one_condition):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputUnwritable, match=r"the plots cannot be written to .*file") as caught:
        draw_all(one_condition, tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_the_det_curve_marks_both_axes_in_per_cent():
    with drawing():
        axes = score_plots.det(evaluation()).axes[0]
    assert "FMR, %" in axes.get_xlabel()
    assert "FNMR, %" in axes.get_ylabel()
    assert tick_labels(axes.xaxis) == ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "40"]
    assert tick_labels(axes.yaxis) == tick_labels(axes.xaxis)


def test_the_det_curve_has_a_line_for_each_condition_with_its_equal_error_rate():
    with drawing():
        texts = legend(score_plots.det(evaluation()))
    assert len([text for text in texts if ": EER " in text]) == 6
    assert any(text.startswith("babble 0 dB: EER ") for text in texts)
    assert "threshold in use" in texts


def test_the_det_curve_runs_through_the_rates_at_their_normal_deviates(one_condition):
    with drawing():
        axes = score_plots.det(one_condition).axes[0]
    curve = next(line for line in axes.lines if ": EER " in str(line.get_label()))
    scored = one_condition.outcomes[0].scored
    rates = det_curve(scored.scores, scored.same)
    inside = (rates.fmr > 0.002) & (rates.fmr < 0.3)
    assert set(deviate(rates.fmr[inside])) <= set(curve.get_xdata())
    assert deviate(0.5) == 0
    assert deviate(0.158655) == pytest.approx(-1, abs=1e-4)


def test_the_det_axes_reach_as_low_as_the_errors():
    good = outcome(apart=10.5, speakers=60)
    assert 0 < good.measures["eer"].value < 0.001
    with drawing():
        axes = score_plots.det(evaluation(outcomes=(good,))).axes[0]
    assert float(tick_labels(axes.xaxis)[0]) <= 100 * good.measures["eer"].value


@pytest.mark.parametrize("name", ["scores", "errors", "box"])
def test_the_threshold_in_use_is_marked(name, one_condition):
    with drawing():
        figure = getattr(score_plots, name)(one_condition)
    assert f"threshold in use: {THRESHOLD:.4g}" in legend(figure)
    uprights = [line for line in figure.axes[0].lines if set(line.get_xdata()) == {THRESHOLD}]
    assert uprights


def test_all_scores_are_in_the_histograms(one_condition):
    scored = one_condition.outcomes[0].scored
    scored.scores[0] = 1e6
    with drawing():
        axes = score_plots.scores(one_condition).axes[0]
    assert axes.get_xlim()[1] < 100
    for patch in axes.patches:
        heights = patch.get_xy()[:, 1]
        # An outline visits each bin's height twice, on the way over it.
        assert heights.sum() == pytest.approx(200, abs=1e-6)


def test_noise_has_a_line_for_each_kind_and_ticks_at_what_was_measured():
    with drawing():
        figure = score_plots.noise(evaluation())
    assert set(legend(figure)) == {"as recorded", "noise", "babble"}
    assert list(figure.axes[0].get_xticks()) == [0.0, 10.0]


def test_a_million_trials_make_no_large_drawing():
    for file in draw_scores(evaluation(outcomes=(outcome(speakers=320, per_pair=10),))):
        assert len(file) < 300_000


def test_two_thousand_speakers_make_no_large_drawing():
    crowd = evaluation(outcomes=(), speakers=2000)
    with drawing():
        for draw in (similarity, speaker_map):
            assert len(as_bytes(draw(crowd), "svg")) < 1_500_000


def test_a_thinned_curve_keeps_its_ends_and_its_course():
    x = np.linspace(0, 1, 100_000)
    y = np.where(x < 0.5, 0.0, 1.0)
    few_x, few_y = thinned(x, y)
    assert len(few_x) <= MOST_POINTS
    assert (few_x[0], few_x[-1], few_y[0], few_y[-1]) == (0, 1, 0, 1)
    assert np.abs(np.interp(0.4, few_x, few_y)) < 1e-9
    assert np.diff(few_x).max() < 2 / 1000


def test_speakers_without_a_voice_are_left_out(one_condition):
    one_condition.vectors[3] = np.nan
    names, vectors = heard_speakers(one_condition)
    assert len(names) == len(vectors) == 11
    assert "speaker 3" not in names
    with drawing():
        axes = similarity(one_condition).axes[0]
        assert speaker_map(one_condition).axes[0].get_title(loc="left") == "Map of 11 speakers"
    assert sorted(tick_labels(axes.yaxis)) == sorted(names)


def test_the_matrix_puts_those_beside_each_other_who_are_alike():
    crowd = evaluation(outcomes=(outcome(),), speakers=12)
    crowd.vectors[:] = np.eye(256, dtype=np.float32)[np.arange(12) % 2]
    crowd.vectors[:, 5] += 0.01 * np.arange(12)
    with drawing():
        order = tick_labels(similarity(crowd).axes[0].yaxis)
    kinds = [int(name.split()[1]) % 2 for name in order]
    assert kinds in ([0] * 6 + [1] * 6, [1] * 6 + [0] * 6)


def test_the_map_keeps_the_distances_of_voices_that_lie_in_a_plane():
    crowd = evaluation(outcomes=(outcome(),), speakers=5)
    angles = np.array([0.1, 0.3, 0.8, 1.2, 1.3])
    crowd.vectors[:] = 0
    crowd.vectors[:, :2] = np.column_stack([np.cos(angles), np.sin(angles)])
    with drawing():
        points = np.asarray(speaker_map(crowd).axes[0].collections[0].get_offsets())
    expected = 2 * np.sin(np.abs(angles[:, None] - angles) / 2)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    assert distances == pytest.approx(expected, abs=1e-6)


def test_names_on_the_map_do_not_hide_each_other():
    crowd = evaluation(outcomes=(outcome(),), speakers=30)
    with drawing():
        figure = speaker_map(crowd)
        figure.draw_without_rendering()
        # Without the lines to the points, which may cross.
        boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 30
    met = sum(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
    assert met == 0


def test_many_speakers_are_not_named():
    crowd = evaluation(outcomes=(outcome(),), speakers=31)
    with drawing():
        assert not speaker_map(crowd).axes[0].texts
        assert not similarity(crowd).axes[0].get_yticks().size


def test_a_long_name_keeps_its_ends():
    assert short("corpus/train/speaker-0042") == "corpus…speaker-0042"[:6] + "…peaker-0042"
    assert len(short("x" * 300)) == 18
    assert short("ada") == "ada"


HOSTILE = (
    *("$x_{1", "a$b$c", r"$\frac{1}{0}$", "王小明", "عائشة", "<script>", "--><", "&amp;"),
    *("\x00\n", "\udce9", "", "👩🚀"),
)


def test_hostile_names_are_drawn_and_no_warning_escapes(tmp_path):
    outcomes = (outcome(condition="$\\noise"), outcome("$a 5 dB", "noise", 5.0, 3.0))
    for path in draw_all(evaluation(outcomes=outcomes, names=HOSTILE), tmp_path):
        if path.suffix == ".svg":
            ElementTree.parse(path)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=3, max_size=3))
def test_any_names_can_be_drawn(names):
    small = evaluation(outcomes=(), speakers=3, names=names)
    with drawing():
        assert ElementTree.fromstring(as_bytes(speaker_map(small), "svg")).tag.endswith("svg")


@pytest.mark.parametrize("apart", [0.0, 30.0])
def test_no_error_and_nothing_but_errors_are_drawn_too(apart):
    assert draw_scores(evaluation(outcomes=(outcome(apart=apart, speakers=3, per_pair=1),)))


def test_equal_scores_are_drawn_too():
    whole = outcome()
    fields = vars(whole.scored) | {"scores": np.zeros(len(whole.scored))}
    flat = replace(whole, scored=ScoredTrials(**fields))
    assert draw_scores(evaluation(outcomes=(flat,)))
