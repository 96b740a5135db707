"""Whether anything but speech lets somebody in: 1,000 sounds without words, zero acceptances.

``python benchmarks/not_speech.py --speech ../shared/speech`` enrols the synthetic people of
tests/recordings, and ten real ones where there are recordings of some, and lets each sound claim
to be one of them. No words are asked for, so that the quality gate and the voice stand alone. It
prints what refused how many, and the exact (Clopper-Pearson) upper bound of the share that is
accepted.

The sounds are silence, hiss, hum, tones, clicks, buzzes and noise with the rhythm of speech, made
here, and room tone and noises cut from recordings, alone or two at once, at every level. Crying
babies are among them, which the gate may well take for people.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from membrane.audio.files import read_utterance
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance
from membrane.errors import PoorQuality
from membrane.evaluation.intervals import clopper_pearson
from membrane.login.membrane import Membrane
from membrane.settings import EVALUATING, Settings

SOUNDS = 1000
SECONDS = (1.0, 6.0)
LEVELS_DBFS = (-70.0, 6.0)
"""From below the least level to clipping."""

RECORDINGS = Path(__file__).resolve().parents[1] / "tests" / "recordings"
REAL_PEOPLE = 10
GATES = {
    "no speech": "I heard no speech",
    "too short": "s of speech;",
    "too quiet": "too quiet",
    "clipped": "is clipped",
    "too noisy": "too noisy",
}

Random = np.random.Generator


def white(random: Random, n: int) -> Samples:
    """Return white noise."""
    return random.normal(size=n)


def coloured(slope: float) -> Callable[[Random, int], Samples]:
    """Return a maker of noise whose power falls as ``1 / f ** slope``."""

    def make(random: Random, n: int) -> Samples:
        spectrum = np.fft.rfft(white(random, n))
        return np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** (slope / 2), n)

    return make


def hum(random: Random, n: int) -> Samples:
    """Return the hum of the mains with its harmonics."""
    times, mains = np.arange(n) / SAMPLE_RATE, random.choice([50, 60])
    return sum(np.sin(2 * np.pi * mains * k * times) / k for k in range(1, 8))


def tones(random: Random, n: int) -> Samples:
    """Return one to three steady tones, as of a telephone."""
    times = np.arange(n) / SAMPLE_RATE
    frequencies = random.uniform(80, 4000, random.integers(1, 4))
    return sum(np.sin(2 * np.pi * frequency * times) for frequency in frequencies)


def sweep(random: Random, n: int) -> Samples:
    """Return a tone that rises or falls, as of a siren."""
    frequencies = np.linspace(*random.uniform(80, 3000, 2), n)
    return np.sin(2 * np.pi * np.cumsum(frequencies) / SAMPLE_RATE)


def clicks(random: Random, n: int) -> Samples:
    """Return clicks at irregular times, as of keys."""
    places = random.integers(0, n, max(1, n // 4000))
    train = np.zeros(n)
    train[places] = random.normal(size=len(places))
    return np.convolve(train, np.exp(-np.arange(200) / 30) * white(random, 200), "same")


def buzz(random: Random, n: int) -> Samples:
    """Return pulses at the pitch of a voice."""
    train = np.zeros(n)
    train[:: int(SAMPLE_RATE / random.uniform(80, 300))] = 1
    return np.convolve(train, np.exp(-np.arange(400) / random.uniform(5, 80)))[:n]


def syllables(random: Random, n: int) -> Samples:
    """Return pink noise with the rhythm of speech, four bursts a second."""
    times = np.arange(n) / SAMPLE_RATE
    envelope = np.maximum(0, np.sin(2 * np.pi * random.uniform(2, 5) * times))
    return coloured(1)(random, n) * envelope


def silence(random: Random, n: int) -> Samples:
    """Return digital silence."""
    return np.zeros(n)


MAKERS = {
    "silence": silence,
    "white": white,
    "pink": coloured(1),
    "brown": coloured(2),
    "hum": hum,
    "tones": tones,
    "sweep": sweep,
    "clicks": clicks,
    "buzz": buzz,
    "syllables": syllables,
}


def synthesised(random: Random, n: int) -> tuple[str, Samples]:
    """Return a sound made here, and its kind."""
    kind = str(random.choice(list(MAKERS)))
    return kind, MAKERS[kind](random, n)


def cut(recorded: list[Samples], random: Random, n: int) -> Samples:
    """Return a piece of one recording, repeated if that is too short, or of two mixed."""
    total = np.zeros(n)
    for _ in range(random.integers(1, 3)):
        noise = recorded[random.integers(len(recorded))]
        start = random.integers(max(1, len(noise) - n))
        total += np.resize(noise[start : start + n], n) * random.uniform(0.2, 1)
    return total


def at_level(samples: Samples, level_dbfs: float) -> Samples:
    """Return a sound at a level, cut off at full scale; silence stays silent."""
    power = np.mean(np.square(samples))
    gain = 10 ** (level_dbfs / 20) / np.sqrt(power) if power else 0
    return np.clip(samples * gain, -1, 1).astype(np.float32)


def sounds(count: int, folder: Path | None) -> Iterator[Utterance]:
    """Yield sounds without words, each time the same; without a folder all are made here."""
    random = np.random.default_rng(2026)
    paths = sorted(folder.glob("*.flac")) if folder else []
    recorded = [read_utterance(path).samples for path in paths]
    for number in range(count):
        n = int(random.uniform(*SECONDS) * SAMPLE_RATE)
        room = int(random.integers(2)) * 2 * SAMPLE_RATE  # every other one as at a microphone
        if recorded and number % 10 < 7:
            kind, samples = "recorded", cut(recorded, random, n + room)
        else:
            kind, samples = synthesised(random, n + room)
        level = random.uniform(*LEVELS_DBFS)
        samples = at_level(samples, level)
        source = f"{number} {kind} at {level:.0f} dBFS"
        yield Utterance(samples[room:], ambient=samples[:room], source=source)


def people(speech: Path | None) -> Iterator[tuple[str, list[Path]]]:
    """Yield names and three recordings of each."""
    for folder in sorted(RECORDINGS.iterdir()):
        if folder.is_dir():
            yield folder.name, sorted(folder.glob("enrol-*.flac"))
    for folder in sorted((speech / "librispeech").iterdir())[:REAL_PEOPLE] if speech else ():
        yield folder.name, sorted(folder.glob("*.flac"))[:3]


def outcome(membrane: Membrane, name: str, utterance: Utterance) -> str:
    """Return what refused a sound, or that it was accepted."""
    try:
        decision = membrane.verify(name, utterance)
    except PoorQuality as refused:
        return next((gate for gate, words in GATES.items() if words in str(refused)), str(refused))
    return "accepted" if decision.accepted else "another voice"


def upper_bound(accepted: int, count: int) -> float:
    """Return the end of the exact 95 % interval."""
    return clopper_pearson(accepted, count)[1]


def main() -> int:
    """Print what became of every sound; fail if one was accepted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, help="the folder of real speech and noise")
    parser.add_argument("--sounds", type=int, default=SOUNDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        membrane = Membrane(Settings(Path(folder) / "voiceprints.joblib", **EVALUATING))
        names = []
        for name, paths in people(given.speech):
            heard = [membrane.examine(read_utterance(path), enrolling=True) for path in paths]
            membrane.enroll(name, heard)
            names.append(name)
        outcomes: Counter[str] = Counter()
        noises = given.speech and given.speech / "noise"
        for number, utterance in enumerate(sounds(given.sounds, noises)):
            became = outcome(membrane, names[number % len(names)], utterance)
            outcomes[became] += 1
            if became == "accepted":
                print(f"accepted as {names[number % len(names)]}: {utterance.source}")
    print(f"{given.sounds} sounds without words, {len(names)} people")
    for became, count in outcomes.most_common():
        print(f"{count:6}  {became}")
    bound = upper_bound(outcomes["accepted"], given.sounds)
    print(f"accepted: {outcomes['accepted']}, at most {bound:.2%} (95 %)")
    return 1 if outcomes["accepted"] else 0


if __name__ == "__main__":
    sys.exit(main())
