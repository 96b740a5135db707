"""Markup: HTML of which every text from outside is escaped, unless it is HTML already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from membrane.evaluation.canvas import printable

_EMPTY = {"img", "meta"}
"""Elements that have no end tag."""


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str) -> Html:
    """Return an element; a trailing underscore of an attribute's name is left out.

    Parameters
    ----------
    name : str
    *content : str
        Escaped unless `Html`.
    **attributes : str
    """
    named = "".join(
        f' {key.rstrip("_")}="{escape(printable(value))}"' for key, value in attributes.items()
    )
    if name in _EMPTY:
        return Html(f"<{name}{named}>")
    return Html(f"<{name}{named}>{joined(content)}</{name}>")


def joined(content: Iterable[str]) -> Html:
    """Return several pieces as one, each escaped unless `Html`."""
    return Html("".join(one if isinstance(one, Html) else _escaped(one) for one in content))


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """Return a titled table that scrolls where it is too wide; its first column names the rows."""
    head = element("tr", *(element("th", one, scope="col") for one in heads))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", one) for one in others))
        for first, *others in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body))
    region = {"role": "region", "aria-label": title}
    # The title stands outside of what scrolls, or it would scroll out of sight.
    wide = element("div", whole, class_="wide", tabindex="0", **region)
    return joined([element("h3", title), wide])


def _escaped(text: str) -> str:
    return escape("\n".join(printable(line) for line in text.split("\n")))
