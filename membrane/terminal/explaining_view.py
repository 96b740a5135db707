"""How an explanation is shown: sections of short lines, in sixty columns or more."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from membrane.login.decision import Decision
from membrane.login.explain import Cost, Explanation, OwnSpread, Strangers, Stretch
from membrane.terminal.text import escaped
from membrane.voice.ratio import ratio_as_number

Rows = list[tuple[str, str]]

BAR = 25
"""Columns of a bar, from a similarity of 0 to 1."""

MOST_STRETCHES = 20
"""Stretches that are shown; of a longer recording the least alike ones."""

NOTHING = "1.0"
"""What no change is as a factor, to two digits."""

MEASURES = {
    "speech": ("speech", "{:.1f} s"),
    "snr": ("noise", "{:.0f} dB"),
    "enrolled": ("enrolment", "{:.1f} s"),
}
"""Name and unit of what a calibration may look at."""

FIRST = "the first"
"""What is compared with a recording where nobody is enrolled."""

WITHHELD = "Shown by `membrane explain NAME FILE`, for the owner."
"""What a refused login is told instead of all that depends on the person's phrases."""

SCALES = {"none": "cosine", "centre": "cosine without what all voices share"}


def drawn(decision: Decision, *, plain: bool) -> RenderableType:
    """Return the explanation of a decision, ready to print.

    Parameters
    ----------
    decision : Decision
        One that has an explanation.
    plain : bool
        As lines that stand alone, for a pipe, instead of in columns.
    """
    parts: list[RenderableType] = []
    for heading, rows in sections(decision):
        parts.append(Text(heading) if plain else Text(f"\n{heading}", style="bold"))
        if plain:
            parts += [Text(f"{name}: {value}" if name else value) for name, value in rows]
        else:
            parts.append(_grid(rows))
    return Group(*parts)


def _grid(rows: Rows) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        names = [Text(name, style="dim")] if any(name for name, _ in rows) else []
        grid.add_row("", *names, Text(value))
    return grid


def sections(decision: Decision) -> Iterator[tuple[str, Rows]]:
    """Yield a heading and what stands under it, as names and values; a name may be empty.

    Raises
    ------
    ValueError
        If the decision has no explanation.
    """
    explanation = decision.explanation
    if explanation is None:
        raise ValueError("a decision without an explanation")
    whom = FIRST if decision.command == "compare" else escaped(decision.claimed)
    yield "Why", [("", explanation.verdict)]
    if explanation.alike is None:
        yield "How alike", [("", WITHHELD)]
    else:
        needed = f"{explanation.stretch_threshold:.2f} needed"
        alike = _alike(explanation, explanation.alike, whom)
        yield f"How alike ({SCALES[explanation.normalisation]})", alike
        yield f"Stretches (s of speech, silence cut out; {needed})", _stretches(explanation)
    costs = [_cost(cost, whom) for cost in explanation.costs]
    unasked = [("", "Not looked at: a threshold of your own decides.")]
    yield "What the circumstances cost", costs or unasked
    yield "What would help", [("", _help(explanation))]


def _alike(explanation: Explanation, alike: float, whom: str) -> Rows:
    rows = [
        ("recording", f"{alike:.3f} like {whom}{_among_own(explanation.own, alike, whom)}"),
        ("phrases", _own(explanation.own, whom)),
    ]
    if explanation.strangers is None:
        return [*rows, ("strangers", "none: there is no cohort to compare with")]
    rows.append(("strangers", _strangers(explanation.strangers, "the recording", whom)))
    if explanation.strangers_of_person is not None:
        rows.append(("", _strangers(explanation.strangers_of_person, whom, "the recording")))
    return rows


def _own(own: OwnSpread | None, whom: str) -> str:
    if own is None:
        return "none: nobody is enrolled" if whom == FIRST else "only one: there is no spread"
    spread = f"{own.least:.3f} to {own.most:.3f}, median {own.median:.3f}"
    return f"{spread}: {own.phrases} of {whom}'s, each like the others"


def _among_own(own: OwnSpread | None, alike: float, whom: str) -> str:
    """Return where the probe lies among the person's own phrases."""
    if own is None:
        return ""
    if alike < own.least:
        place = "less than any of"
    else:
        place = "more than any of" if alike > own.most else "within the spread of"
    return f", {place} {whom}'s own phrases"


def _strangers(strangers: Strangers, voice: str, other: str) -> str:
    as_alike = {0: "none is", 1: "1 is"}.get(strangers.as_alike, f"{strangers.as_alike} are")
    return (
        f"the closest of {strangers.count} is {strangers.closest:.3f} like {voice}, the median "
        f"{strangers.median:.3f}; {as_alike} as like as {other}"
    )


def _stretches(explanation: Explanation) -> Rows:
    every = explanation.stretches
    least = sorted(every, key=lambda stretch: stretch.similarity)[:MOST_STRETCHES]
    rows = [_bar(stretch, explanation.stretch_threshold) for stretch in every if stretch in least]
    if len(every) > len(least):
        rows.append(("", f"the {len(least)} least alike of {len(every)}"))
    return rows


def _bar(stretch: Stretch, needed: float) -> tuple[str, str]:
    filled, mark = (round(min(max(part, 0), 1) * BAR) for part in (stretch.similarity, needed))
    bar = ("#" * filled).ljust(BAR, ".")
    bar = f"{bar[:mark]}|{bar[mark:]}"
    when = f"{stretch.start_s:.1f} to {stretch.stop_s:.1f}"
    return when, f"{stretch.similarity:.3f} {bar}{'' if stretch.enough else ' too low'}"


def _cost(cost: Cost, whom: str) -> tuple[str, str]:
    name, unit = MEASURES[cost.measure]
    if (cost.measure, whom) == ("enrolled", FIRST):
        name = FIRST
    value = unit.format(cost.value)
    if cost.best is None or cost.change is None:
        return name, f"{value}: not looked at by this calibration"
    factor, best = ratio_as_number(abs(cost.change)), unit.format(cost.best)
    if factor == NOTHING:
        return name, f"{value} cost nothing"
    if cost.change > 0:
        return name, f"{value} cost a factor of {factor}, compared with {best}"
    return name, f"{value}; with {best} this similarity would count for {factor} times less"


def _help(explanation: Explanation) -> str:
    gain = explanation.gain
    if gain is None:
        return "Nothing that was measured."
    return (
        f"Honest logins with {gain.more_s:g} s more speech score about "
        f"{ratio_as_number(gain.change)} times higher (median, measured)."
    )
