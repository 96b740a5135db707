"""The report: one page that says how often the system errs, on what, and what the words mean."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from membrane.errors import OutputUnwritable
from membrane.evaluation.canvas import as_bytes, drawing
from membrane.evaluation.evaluation import Evaluation, Outcome
from membrane.evaluation.explanations import EXPLANATIONS
from membrane.evaluation.markup import Html, element, joined, table
from membrane.evaluation.metrics import MEASURES
from membrane.evaluation.plots import Plot, drawn
from membrane.evaluation.report_style import STYLE
from membrane.evaluation.wording import MISSING, of_a_thousand, shown

IN_SHORT = {
    "eer": "equal error rate",
    "fmr": "strangers accepted (FMR)",
    "fnmr": "right person refused (FNMR)",
    "fnmr_at_fmr_1": Html("FNMR at FMR&nbsp;1&nbsp;%"),
    "fnmr_at_fmr_01": Html("FNMR at FMR&nbsp;0.1&nbsp;%"),
}
"""Measures of the first tables; the table of all measures has the others."""

COUNTS = {
    "speakers": "speakers",
    "enrolled": "voiceprints",
    "probes": "recordings",
    "refused": "refused for quality",
    "unreadable": "unreadable",
    "genuine": "comparisons of one person",
    "impostor": "comparisons of two people",
}

BESIDE_EACH_OTHER = 4
"""Conditions that one table of all measures has room for."""

FOLDED = 20
"""Entries from which on a list of the provenance is folded."""


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
        _replace(path, content)
    except OSError as error:
        raise OutputUnwritable(
            f"the report cannot be written to {path}: {error.strerror or error}"
        ) from None


def page(evaluation: Evaluation) -> str:
    """Return the report as HTML."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", "Error rates of a voice login"),
        # Its own text, in which nothing comes from outside, and which escaping would break.
        element("style", Html(STYLE)),
    )
    body = element("body", element("main", *_sections(evaluation)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _sections(evaluation: Evaluation) -> Iterator[Html]:
    yield element("h1", "How often is this voice login wrong?")
    yield _summary(evaluation)
    yield _notes(evaluation.notes)
    yield _section("Error rates", *_short_tables(evaluation), _legend(evaluation))
    yield _section("What was counted", _counts(evaluation.outcomes))
    yield _section("Plots", *_figures(evaluation))
    yield _section("All measures", *_measures(_of_everybody(evaluation)))
    yield _section("What each measure says", _explanations())
    yield _section("What was measured on what", _described(evaluation.provenance))


def _section(title: str, *content: Html) -> Html:
    return element("section", element("h2", title), *content) if any(content) else Html()


def _of_everybody(evaluation: Evaluation) -> list[Outcome]:
    return [outcome for outcome in evaluation.outcomes if not outcome.group]


def _summary(evaluation: Evaluation) -> Html:
    first = next((one for one in _of_everybody(evaluation) if one.measures), None)
    if first is None:
        return element(
            "p",
            "No error rate could be measured: that takes comparisons of one person and of two "
            "people, both.",
            class_="summary",
        )
    passed, refused = (of_a_thousand(first.measures[key]) for key in ("fmr", "fnmr"))
    sentences = [
        element(
            "p",
            f"Of 1,000 attempts by strangers, {passed} would pass; of 1,000 attempts of the right "
            f"person, {refused} would be refused.",
            class_="summary",
        ),
        element("p", _measured_on(first)),
        element(
            "p",
            "In brackets are 95 % intervals: with other speakers of the same kind the rate would "
            "mostly lie in them. These are the errors of the voice alone; at a microphone the "
            "words must be right, too.",
        ),
    ]
    return joined(sentences)


def _measured_on(outcome: Outcome) -> str:
    counts = outcome.counts
    return (
        f"Measured on {counts['speakers']:,} speakers in the condition “{outcome.condition}”, with "
        f"{counts['genuine']:,} comparisons of one person and {counts['impostor']:,} of two "
        f"people. {counts['refused']:,} of {counts['probes']:,} recordings were refused for their "
        f"quality and {counts['unreadable']:,} could not be read: they are in no rate."
    )


def _notes(notes: Sequence[str]) -> Html:
    if not notes:
        return Html()
    listed = element("ul", *(element("li", note) for note in notes))
    return element("section", element("h2", "Mind this"), listed, class_="notes")


def _short_tables(evaluation: Evaluation) -> Iterator[Html]:
    heads = ("", *IN_SHORT.values())
    everybody = _of_everybody(evaluation)
    rows = ((one.condition, *_cells(one, IN_SHORT)) for one in everybody)
    yield table("Error rates by condition, with 95 % intervals", heads, rows)
    groups = [one for one in evaluation.outcomes if one.group]
    if groups:
        rows = ((_name(one), *_cells(one, IN_SHORT)) for one in groups)
        yield table("Error rates by group, between people of the same group", heads, rows)


def _cells(outcome: Outcome, keys: Mapping[str, str]) -> list[Html]:
    return [_cell(outcome, key) for key in keys]


def _cell(outcome: Outcome, key: str) -> Html:
    if key not in outcome.measures:
        return Html(MISSING)
    value, bracket, interval = shown(key, outcome.measures[key]).partition(" (")
    return joined([value, element("small", f"({interval}")] if bracket else [value])


def _name(outcome: Outcome) -> str:
    return ", ".join(part for part in (outcome.condition, outcome.group) if part)


def _legend(evaluation: Evaluation) -> Html:
    return element(
        "p",
        f"{MISSING} could not be computed: there are no trials of that kind, or too few for so "
        f"low a rate. A number without brackets has no interval: the speakers are too few. The "
        f"threshold in use is {evaluation.threshold:.4g} ({evaluation.unit}).",
        class_="legend",
    )


def _counts(outcomes: Sequence[Outcome]) -> Html:
    rows = [
        (_name(outcome), *(f"{outcome.counts.get(key, 0):,}" for key in COUNTS))
        for outcome in outcomes
    ]
    return table("What each rate is made of", ("", *COUNTS.values()), rows)


def _measures(outcomes: Sequence[Outcome]) -> Iterator[Html]:
    for start in range(0, len(outcomes), BESIDE_EACH_OTHER):
        part = outcomes[start : start + BESIDE_EACH_OTHER]
        rows = [
            (measure.title, *(_cell(outcome, key) for outcome in part))
            for key, measure in MEASURES.items()
        ]
        names = [outcome.condition for outcome in part]
        yield table(", ".join(names), ("", *names), rows)


def _explanations() -> Html:
    pairs = (
        joined([element("dt", measure.title), element("dd", EXPLANATIONS[key])])
        for key, measure in MEASURES.items()
    )
    return element("dl", *pairs)


def _figures(evaluation: Evaluation) -> Iterator[Html]:
    with drawing():
        for plot, figure in drawn(evaluation):
            yield _figure(plot, as_bytes(figure, "svg"))


def _figure(plot: Plot, svg: bytes) -> Html:
    source = f"data:image/svg+xml;base64,{b64encode(svg).decode()}"
    image = element("img", src=source, alt=plot.title)
    return element("figure", image, element("figcaption", plot.caption))


def _described(value: Any) -> Html:
    """Return the provenance, whatever it holds, as lists within lists."""
    if isinstance(value, Mapping):
        pairs = (
            joined([element("dt", _spoken(key)), element("dd", _described(one))])
            for key, one in value.items()
        )
        return _folded(element("dl", *pairs), len(value)) if value else Html()
    if isinstance(value, list | tuple | set | frozenset):
        listed = element("ul", *(element("li", _described(one)) for one in value))
        return _folded(listed, len(value)) if value else Html(MISSING)
    return joined([MISSING if value is None else str(value)])


def _folded(listed: Html, entries: int) -> Html:
    if entries < FOLDED:
        return listed
    return element("details", element("summary", f"{entries:,} entries"), listed)


def _spoken(key: object) -> str:
    return str(key).replace("_", " ")


def _replace(path: Path, content: bytes) -> None:
    if path.exists() and not path.is_file():  # a pipe or device is for writing to
        path.write_bytes(content)
        return
    path = path.resolve()
    new = path.parent / f".{path.name}.{os.getpid()}"
    try:
        new.write_bytes(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
