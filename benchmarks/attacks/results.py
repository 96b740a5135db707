"""The file of results: a section for each part, replaced one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence

HEADER = """# Attacks, and how often each gets in

Written by `python -m benchmarks.attacks PART --write`; the numbers of a section are those of its
last full run. All are of whole decisions, quality, words and voice together, as `verify` makes
them, with the lockout and the memory of recordings switched off, so that every attempt is judged
for itself. APCER is the share of the attempts of one attack instrument that were let in, BPCER that
of the honest logins that were refused (ISO/IEC 30107-3), in per cent with exact 95 % intervals
(Clopper and Pearson) and the number of attempts. The intervals treat attempts as independent;
attempts of few people are not quite.
"""

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)


def with_section(document: str, section: str, *, order: Sequence[str]) -> str:
    """Return the document with a section put in its place, or in that of its older version.

    Parameters
    ----------
    document : str
        What was written before; empty if nothing was.
    section : str
        Beginning with ``## `` and its title.
    order : sequence of str
        All titles.
    """
    sections = {**_sections(document), **_sections(section)}
    kept = (sections[title].strip() for title in order if title in sections)
    return "\n\n".join([HEADER.strip(), *kept]) + "\n"


def _sections(document: str) -> dict[str, str]:
    """Return the text of each section by its title."""
    starts = list(SECTION.finditer(document))
    stops = [*(start.start() for start in starts[1:]), len(document)]
    return {
        start[1]: document[start.start() : stop] for start, stop in zip(starts, stops, strict=False)
    }
