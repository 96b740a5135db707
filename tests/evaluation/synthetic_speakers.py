"""Speakers who do not exist: recordings without files, and what is heard of them."""

from pathlib import Path

import numpy as np

from membrane.audio.quality import Quality
from membrane.evaluation.conditions import CLEAN
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.voices import Heard
from membrane.voice.encoder import Embedding, load_encoder
from membrane.voice.judge import Judge
from membrane.voice.scoring import METRICS
from membrane.voice.voice import Voice


def speakers(names, utterances):
    """Return recordings of some people; the first letter of a name is the gender."""
    return [
        Recording((Path(name) / f"{number}.wav",), name, labels=(("gender", name[0]),))
        for name in names
        for number in range(utterances)
    ]


def voice_at(cosine):
    """Return a voice that accepts from this cosine on."""
    return Voice(
        load_encoder("resemblyzer"), Judge("resemblyzer", cosine=cosine), METRICS["cosine"]
    )


def unit(vector):
    """Return a vector of length 1."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def heard(speaker, number, *, spread, speech_s=3.0, shared=0.0):
    """Return a voice near that of its speaker: more spread, less alike; more shared, more so."""
    own = np.random.default_rng(list(speaker.encode())).normal(size=256)
    other = np.random.default_rng([*speaker.encode(), number]).normal(size=256)
    vector = unit(own + spread * other + shared)
    return Heard(Embedding(vector, vector[np.newaxis]), Quality(speech_s, 30.0, -20.0, 0.0))


def listen(jobs):
    """Hear everybody well, and hardly in the noise."""
    return [
        heard(
            job.recording.speaker,
            int(job.recording.files[0].stem),
            spread=0.2 if job.condition == CLEAN else 3.0,
        )
        for job in jobs
    ]
