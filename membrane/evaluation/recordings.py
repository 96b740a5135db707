"""Recordings of known speakers: found in folders, labelled, cut and joined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from membrane.audio.utterance import Utterance


@dataclass(frozen=True)
class Recording:
    """One utterance of a known speaker: a file, a stretch of one, or several joined.

    Parameters
    ----------
    files : tuple of Path
        Joined in this order.
    speaker : str
        Unique over all corpora: where there are several, ``corpus/name``.
    corpus : str
        The folder it was found in; speakers of different corpora are never compared.
    labels : tuple of (str, str)
        Such as ``("gender", "f")``; sorted by name.
    start_s, stop_s : float, seconds
        The stretch of the joined files; `stop_s` None for their end.
    """

    files: tuple[Path, ...]
    speaker: str
    corpus: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    start_s: float = 0.0
    stop_s: float | None = None

    @property
    def name(self) -> str:
        """What a person calls it in a message: the first file, and how many more."""
        raise NotImplementedError

    def read(self) -> Utterance:
        """Return the sound."""
        raise NotImplementedError

    def content_hash(self) -> str:
        """Return the SHA-256 of the files' bytes and the stretch, hexadecimal."""
        raise NotImplementedError
