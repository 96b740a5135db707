"""The report: one page that says how often the system errs, on what, and what the words mean."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from membrane.errors import OutputUnwritable
from membrane.evaluation.evaluation import Evaluation, Outcome
from membrane.evaluation.metrics import MEASURES
from membrane.evaluation.report.canvas import as_bytes, drawing, printable
from membrane.evaluation.report.plots import Plot, drawn
from membrane.evaluation.report.wording import MISSING, as_text, of_a_thousand
from membrane.system.atomic import write_whole


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Write a page of HTML that needs nothing beside itself: tables, plots, and where from.

    Parameters
    ----------
    evaluation : Evaluation
    path : Path
        Replaced at once, when the page is complete.

    Raises
    ------
    OutputUnwritable
        If it cannot be written.
    """
    content = page(evaluation).encode()
    try:
        if path.exists() and not path.is_file():  # a pipe or device is for writing to
            path.write_bytes(content)
        else:
            write_whole(path.resolve(), content)
    except OSError as error:
        raise OutputUnwritable(
            f"the report cannot be written to {path}: {error.strerror or error}"
        ) from None


def page(evaluation: Evaluation) -> str:
    """Return the report as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("membrane.evaluation.report"),
        autoescape=True,
        finalize=_printable_lines,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"printable": printable, "thousands": "{:,}".format}
    everybody = [outcome for outcome in evaluation.outcomes if not outcome.group]
    return pages.get_template("page.html").render(
        evaluation=evaluation,
        everybody=everybody,
        first=next((one for one in everybody if one.measures), None),
        groups=[outcome for outcome in evaluation.outcomes if outcome.group],
        figures=_figures(evaluation),
        as_text=as_text,
        of_a_thousand=of_a_thousand,
        name_of=_name,
        spoken=lambda key: str(key).replace("_", " "),
        MEASURES=MEASURES,
        MISSING=MISSING,
    )


def _printable_lines(value: Any) -> Any:
    """Return what a page shows of a value: nothing that breaks it but its own line ends."""
    if hasattr(value, "__html__"):
        return value
    return "\n".join(map(printable, str(value).split("\n")))


def _name(outcome: Outcome) -> str:
    return ", ".join(part for part in (outcome.condition, outcome.group) if part)


def _figures(evaluation: Evaluation) -> list[tuple[Plot, str]]:
    """Return every plot with the address of its image, which holds the image itself."""
    with drawing():
        return [
            (plot, f"data:image/svg+xml;base64,{b64encode(as_bytes(figure, 'svg')).decode()}")
            for plot, figure in drawn(evaluation)
        ]
