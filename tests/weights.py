"""Voiceprints some of whose utterances count more or less than others."""

from dataclasses import replace

from membrane.store.voiceprint import Voiceprint


def reweighted(person: Voiceprint, index: int, weight: float) -> Voiceprint:
    """Return a person's voiceprint with another weight for one utterance, counted from 0."""
    utterances = list(person.utterances)
    utterances[index] = replace(utterances[index], weight=weight)
    return person.reencoded(person.encoder, utterances)
