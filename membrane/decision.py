"""A decision: whether somebody is let in, and everything that it rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from membrane.audio.quality import Quality
from membrane.phrase.recognizer import PhraseMatch

NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class VoiceMatch:
    """How alike the probe and a voiceprint are.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
    similarity : float
        The cosine, or the distance, between the two vectors.
    threshold : float
        The least cosine, or the greatest distance, that is accepted.
    accepted : bool
    """

    metric: str
    similarity: float
    threshold: float
    accepted: bool


@dataclass(frozen=True)
class Candidate:
    """One person of an identification, in order of similarity."""

    name: str
    similarity: float


@dataclass(frozen=True)
class Decision:
    """Whether somebody is let in, and why.

    Parameters
    ----------
    command : {"verify", "identify", "compare"}
    accepted : bool
    reason : str
        Why, in plain words.
    claimed : str
        Who the person says they are; empty where nobody was claimed.
    person : str
        Who was recognised; empty if nobody was.
    voice : VoiceMatch
    words : PhraseMatch or None
        None where the words were not checked.
    quality : Quality
        Of the recording.
    denoised : bool
    candidates : tuple of Candidate
        The most alike people, best first; of an identification only.
    encoder, recognizer, security, source : str
    timings : dict of str to float, seconds
        What each step took: ``sound``, ``words``, ``voice``.
    """

    command: str
    accepted: bool
    reason: str
    voice: VoiceMatch
    quality: Quality
    claimed: str = ""
    person: str = ""
    words: PhraseMatch | None = None
    denoised: bool = False
    candidates: tuple[Candidate, ...] = ()
    encoder: str = ""
    recognizer: str = ""
    security: str = ""
    source: str = ""
    timings: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Refuse to be a truth value: `accepted` says what is meant."""
        raise TypeError("ask for decision.accepted")

    def as_json(self) -> dict[str, Any]:
        """Return the decision as plain values, ready for a JSON encoder."""
        plain = asdict(self)
        plain["words"] = plain["words"] or NOT_CHECKED
        plain["candidates"] = list(plain["candidates"])
        plain["score"] = None  # a calibrated log-likelihood ratio, once there is a calibration
        return plain
