"""Comparing a probe with voiceprints, each by the encoder that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from membrane.login.examine import Examined
from membrane.login.voices import Voices
from membrane.store.gallery import Gallery, Rows
from membrane.store.voiceprint import EnrolledUtterance, Voiceprint
from membrane.voice.encoder import Vector
from membrane.voice.voice import Voice, VoiceMatch


@dataclass(frozen=True, eq=False)
class Compared:
    """What a probe is compared with.

    Parameters
    ----------
    vector : np.ndarray, shape (dimension,), float32, unit length
        The voice.
    speech_s : float, seconds
        Net speech that it is made of.
    phrases : tuple of EnrolledUtterance
        The person's own; empty for a recording, and for the decoy of an unknown name.
    """

    vector: Vector
    speech_s: float
    phrases: tuple[EnrolledUtterance, ...] = ()

    @classmethod
    def of(cls, voiceprint: Voiceprint) -> Compared:
        """Return an enrolled person."""
        utterances = voiceprint.utterances
        return cls(voiceprint.vector, net_speech_s(utterances), utterances)

    def match(self, probe: Examined, voice: Voice) -> VoiceMatch:
        """Return how alike a probe is; `voice` has made both."""
        return voice.match(self.vector, probe.embedding, probe.circumstances(self.speech_s))


@dataclass(frozen=True, eq=False)
class Likeness:
    """Somebody enrolled who was compared with a probe.

    Parameters
    ----------
    examined : Examined
        The probe, by the encoder that made their voiceprint.
    """

    who: Voiceprint
    examined: Examined
    match: VoiceMatch


def net_speech_s(utterances: Sequence[EnrolledUtterance]) -> float:
    """Return the seconds of net speech that a voiceprint of these utterances is made of."""
    return sum(one.quality.speech_s for one in utterances if one.weight)


def most_alike(
    voices: Voices, gallery: Gallery, among: Mapping[str, Rows], probe: Examined, count: int
) -> list[Likeness]:
    """Return whom a probe is most like, best first.

    People of one encoder are in the order of their normalised similarity; those of several have
    only the scores in common.
    """
    found: list[Likeness] = []
    for encoder, people in among.items():
        voice = voices.of(encoder, whose=gallery.name(int(people.argmax())))
        heard = probe.by(voice)
        for row in voice.closest(gallery.matrix, people, heard.embedding.vector, count):
            who = gallery.voiceprint(row)  # this checks the row that the decision rests on
            found.append(Likeness(who, heard, Compared.of(who).match(heard, voice)))
    if len(among) > 1:
        found.sort(key=lambda one: one.match.worth, reverse=True)
    return found[:count]
