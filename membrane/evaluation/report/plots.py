"""Plots of an evaluation: what there is to draw, what each shows, and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from membrane.errors import OutputUnwritable
from membrane.evaluation.evaluation import Evaluation
from membrane.evaluation.report import score_plots, voice_plots
from membrane.evaluation.report.canvas import as_bytes, drawing

FORMS = ("png", "svg")


@dataclass(frozen=True)
class Plot:
    """One plot.

    Parameters
    ----------
    name : str
        Of its files.
    title : str
        What is drawn, for who cannot see it too.
    caption : str
        How to read it.
    draw : callable
        Makes a matplotlib figure of an evaluation.
    wanted : callable
        Returns what of an evaluation the plot is made of, or whether there is any.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Evaluation], Any]
    wanted: Callable[[Evaluation], object]


def _has_speakers(evaluation: Evaluation) -> bool:
    return len(voice_plots.heard_speakers(evaluation)[0]) >= 3


PLOTS = (
    Plot(
        "det",
        "False non-match rate against false match rate for each condition",
        "Detection error trade-off: further to the lower left is better. Each point of a curve is "
        "a threshold; on the thin line both errors are equal. A filled circle is the equal error "
        "rate, a hollow diamond what the threshold in use does. Marks at the edge stand for rates "
        "beyond it. The diamond may lie off its curve, because a decision also looks at every "
        "stretch of the recording.",
        score_plots.det,
        score_plots.judged,
    ),
    Plot(
        "scores",
        "Histograms of the scores of the same person and of other persons",
        "The less the two hills overlap, the fewer errors. Right of the threshold is accepted. The "
        "outermost bars hold what lies beyond them.",
        score_plots.scores,
        score_plots.judged,
    ),
    Plot(
        "errors",
        "False match rate and false non-match rate against the threshold",
        "A higher threshold lets fewer strangers in and refuses the right person more often. Where "
        "a curve leaves at the bottom, no error was seen.",
        score_plots.errors,
        score_plots.judged,
    ),
    Plot(
        "box",
        "Box plots of the scores of the same person and of other persons for each condition",
        "The line in a box is the median, the box holds the middle half of the scores, and the "
        "whiskers reach from the 1st to the 99th percentile.",
        score_plots.box,
        score_plots.judged,
    ),
    Plot(
        "noise",
        "Equal error rate against the signal-to-noise ratio for each kind of noise",
        "Bars are 95 % intervals. The dotted line is the recordings as they are.",
        score_plots.noise,
        score_plots.noisy,
    ),
    Plot(
        "similarity",
        "Matrix of the similarity of the speakers' mean voices",
        "Bright squares are pairs of speakers who are easily confused. Speakers are ordered by "
        "average-linkage clustering, so that those alike stand together.",
        voice_plots.similarity,
        _has_speakers,
    ),
    Plot(
        "map",
        "Two-dimensional map of the speakers' mean voices",
        "Principal components of the mean voices: points near each other are voices alike, as far "
        "as two of 256 dimensions can show it; the axes say how far that is.",
        voice_plots.speaker_map,
        _has_speakers,
    ),
)


def drawn(evaluation: Evaluation) -> Iterator[tuple[Plot, Any]]:
    """Yield every plot that the evaluation has something for, with its figure.

    Use it within `canvas.drawing`.
    """
    for plot in PLOTS:
        if plot.wanted(evaluation):
            yield plot, plot.draw(evaluation)


def draw_all(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw every plot as PNG and as SVG; those that there is nothing for are left out.

    Parameters
    ----------
    evaluation : Evaluation
    folder : Path
        Made if it is not there.

    Returns
    -------
    paths : list of Path
        The files, two a plot.

    Raises
    ------
    OutputUnwritable
        If a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with drawing():
            return [
                _save(figure, folder / f"{plot.name}.{form}")
                for plot, figure in drawn(evaluation)
                for form in FORMS
            ]
    except OSError as error:
        raise OutputUnwritable(
            f"the plots cannot be written to {folder}: {error.strerror or error}"
        ) from None


def _save(figure: Any, path: Path) -> Path:
    path.write_bytes(as_bytes(figure, path.suffix[1:]))
    return path
