"""A decision: whether somebody is let in, and everything that it rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from membrane.audio.quality import Quality
from membrane.phrase.recognizer import PhraseMatch
from membrane.voice.voice import VoiceMatch

if TYPE_CHECKING:
    from membrane.login.explain import Explanation

NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Candidate:
    """One person of an identification.

    People of one encoder are in the order of their normalised similarity. Similarities of two
    encoders cannot be compared, so people of several are in the order of their scores; of their
    raw similarities where a threshold of one's own decides.

    Parameters
    ----------
    similarity : float
        Raw cosine.
    score : float or None
        As in `VoiceMatch`.
    encoder : str
        Of their voiceprint.
    """

    name: str
    similarity: float
    score: float | None = None
    encoder: str = ""


@dataclass(frozen=True)
class Decision:
    """Whether somebody is let in, and why.

    Parameters
    ----------
    command : {"verify", "identify", "compare"}
        The command that decided.
    accepted : bool
        Whether the person is let in.
    reason : str
        Why, in plain words.
    claimed : str
        Who the person says they are; empty where nobody was claimed.
    person : str
        Who was recognised; empty if nobody was.
    voice : VoiceMatch or None
        None where there was nobody to compare with.
    words : PhraseMatch or None
        None where the words were not checked.
    quality : Quality
        Of the recording.
    denoised_for : tuple of str
        What was taken from the sound without its noise: ``words``, ``voice``, both or neither.
    candidates : tuple of Candidate
        The most alike people, best first; of an identification only.
    encoder, recognizer, security, source : str
        Names of the engines and the security level, and where the recording comes from.
    timings : dict of str to float, seconds
        What each step took: ``sound``, ``words``, ``voice``.
    explanation : Explanation or None
        None where nobody asked for one.
    replayed : bool
        Whether the recording was heard before, in a login or an enrolment of the person.
    numbers_hidden : bool
        Whether the JSON form leaves out what could teach somebody to sound like the person, or to
        guess a passphrase: how alike voice and words are, what would be enough, and which encoder
        says so.
    """

    command: str
    accepted: bool
    reason: str
    voice: VoiceMatch | None
    quality: Quality
    claimed: str = ""
    person: str = ""
    words: PhraseMatch | None = None
    denoised_for: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    encoder: str = ""
    recognizer: str = ""
    security: str = ""
    source: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    explanation: Explanation | None = None
    replayed: bool = False
    numbers_hidden: bool = False

    def __bool__(self) -> bool:
        """Refuse to be a truth value: `accepted` says what is meant."""
        raise TypeError("ask for decision.accepted")

    @property
    def denoised(self) -> bool:
        """Whether noise was taken out for anything that was judged."""
        return bool(self.denoised_for)

    def as_json(self) -> dict[str, Any]:
        """Return the decision as plain values, ready for a JSON encoder."""
        plain = asdict(self)
        plain["denoised"] = self.denoised
        plain["denoised_for"] = list(self.denoised_for)
        plain["words"] = plain["words"] or NOT_CHECKED
        if self.words and not isfinite(self.words.score):
            plain["words"]["score"] = None  # no words at all were found; JSON knows no infinity
        plain["candidates"] = list(plain["candidates"])
        plain["explanation"] = self.explanation and self.explanation.as_json()
        plain["llr"] = self.voice.score if self.voice else None
        if plain.pop("numbers_hidden"):
            plain["voice"] = self.voice and {"accepted": self.voice.accepted}
            for revealing in ("llr", "encoder", "candidates"):
                del plain[revealing]
            if self.words:
                del plain["words"]["score"], plain["words"]["threshold"]
        return plain


def reason_of(
    command: str,
    voice: VoiceMatch | None,
    words: PhraseMatch | None,
    *,
    replayed: bool,
    whose: str,
) -> str:
    """Return the reason for a decision in plain words.

    Parameters
    ----------
    command, voice, words, replayed
        As of `Decision`.
    whose : str
        The name that was claimed, or that of the most alike person of an identification.
    """
    parts = (
        "This recording was heard before: speak, do not play one." if replayed else "",
        _about_voice(command, voice, whose),
        _about_words(words) if command == "verify" else "",
    )
    return " ".join(part for part in parts if part)


def _about_voice(command: str, voice: VoiceMatch | None, whose: str) -> str:
    if voice is None:
        return "Nobody is enrolled yet." if command == "identify" else ""
    if command == "compare":
        return "They sound like one person." if voice.accepted else "They sound like two people."
    if command == "identify":
        return f"This is {whose}." if voice.accepted else "This is nobody I know."
    if voice.accepted:
        return f"The voice is {whose}'s."
    if voice.mixed:
        return f"Part of the recording is not {whose}'s voice."
    return f"The voice is not close enough to {whose}'s."


def _about_words(words: PhraseMatch | None) -> str:
    if words is None:
        return "The words were not checked."
    if words.accepted:
        return "The words are right."
    if words.problem == "not speech":
        return "The words could not be made out: speak clearly, somewhere quieter."
    return "The words are not the ones asked for."
