"""Conditions: what is done to a probe before it is judged, as a room or a telephone would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from membrane.audio.utterance import Utterance


@dataclass(frozen=True)
class Condition:
    """What is done to every probe; nothing for the recordings as they are.

    Parameters
    ----------
    name : str
        Such as ``"clean"``, ``"noise 10 dB"``, ``"reverb"``, ``"3 s"``, ``"telephone"``.
    kind : {"clean", "noise", "babble", "reverb", "seconds", "codec"}
    files : tuple of Path
        Noises, other people's speech, or room responses, of which each probe gets some.
    made : str
        ``"pink"`` or ``"white"`` for a synthesised noise instead of files; the codec's name.
    snr_db : float or None
    seconds : float or None
    """

    name: str = "clean"
    kind: str = "clean"
    files: tuple[Path, ...] = ()
    made: str = ""
    snr_db: float | None = None
    seconds: float | None = None

    def apply(self, utterance: Utterance, *, seed: int, avoid: Sequence[Path] = ()) -> Utterance:
        """Return the utterance as it is heard in this condition."""
        if self.kind == "clean":
            return utterance
        raise NotImplementedError

    def content_hash(self, *, avoid: Sequence[Path] = ()) -> str:
        """Return a hash of all that decides what is done to a probe."""
        return self.name


CLEAN = Condition()
"""The recordings as they are."""
