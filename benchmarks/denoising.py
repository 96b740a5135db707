"""What denoising does to the error rate, and where its noise profile should come from.

    python -m benchmarks.denoising [--snr 20 10] [--part report|choose]

Speakers of speechocean762 are enrolled with three clean utterances; probes of at least 2.5 s are
judged without added noise and in pink noise. Profiles: the first quarter of the probe, as the
original took it, and the probe's own non-speech parts, as Membrane takes them. Voiceprints: of the
utterances as they were heard, and half of them denoised, as Membrane makes them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from joblib import Parallel, delayed

from benchmarks.thresholds import ENROLMENT, SPEECH, probes_of, utterances_of
from membrane.audio import activity
from membrane.audio.denoise import reduce_noise, room_of
from membrane.audio.files import read_utterance
from membrane.audio.preparation import at_voice_level
from membrane.audio.utterance import Samples
from membrane.voice.encoder import Encoder, Vector, load_encoder

CORPUS = "speechocean762"
MARGIN_CHUNKS = 8

Treatment = Callable[[Samples, Samples], Samples]

TREATMENTS: dict[str, Treatment] = {
    "as heard": lambda samples, room: samples,
    "first quarter": lambda samples, room: reduce_noise(samples, samples[: len(samples) // 4]),
    "non-speech": lambda samples, room: reduce_noise(samples, room) if len(room) else samples,
}


def treated(samples: Samples, treatment: Treatment) -> Samples:
    """Return the speech of a recording after a treatment."""
    probability = activity.probabilities(samples)
    mask = activity.speech_mask(probability)
    voiced = np.flatnonzero(mask)
    start = max(0, int(voiced[0]) - MARGIN_CHUNKS) * activity.CHUNK
    stop = (int(voiced[-1]) + 1 + MARGIN_CHUNKS) * activity.CHUNK
    return at_voice_level(treatment(samples, room_of(samples, probability, mask))[start:stop])


def pink(length: int, chance: np.random.Generator) -> Samples:
    """Return noise whose power falls with the frequency, at an effective value of 1."""
    spectrum = np.fft.rfft(chance.standard_normal(length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, length)
    return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


def with_noise(samples: Samples, snr_db: float | None, seed: int) -> Samples:
    """Add pink noise to a recording, `snr_db` below the power of its speech."""
    if snr_db is None:
        return samples
    mask = activity.speech_mask(activity.probabilities(samples))
    speech = samples[activity.spread(mask, len(samples))]
    level = np.sqrt(np.mean(speech**2)) * 10 ** (-snr_db / 20)
    noisy = samples + level * pink(len(samples), np.random.default_rng(seed))
    return (noisy / max(1.0, float(np.abs(noisy).max()))).astype(np.float32)


def mean_of(encoder: Encoder, sounds: list[Samples]) -> Vector:
    """Return the voiceprint of sounds: the mean of all their partials."""
    total = np.sum([encoder.embed(sound).partials.sum(axis=0) for sound in sounds], axis=0)
    return total / np.linalg.norm(total)


def speaker_of(
    number: int, sounds: list[Samples], snrs: list[float | None]
) -> tuple[dict[str, Vector], dict[tuple[float | None, str], list[Vector]]]:
    """Return one speaker's voiceprints by kind, and their probes by noise and treatment."""
    encoder = load_encoder()
    heard = [treated(one, TREATMENTS["as heard"]) for one in sounds[:ENROLMENT]]
    denoised = [treated(one, TREATMENTS["non-speech"]) for one in sounds[:ENROLMENT]]
    voiceprints = {
        "as heard": mean_of(encoder, heard),
        "both": mean_of(encoder, heard + denoised),
    }
    probes = list(probes_of(sounds[ENROLMENT:]))
    vectors = {
        (snr, name): [
            encoder.embed(treated(with_noise(probe, snr, number), treatment)).vector
            for probe in probes
        ]
        for snr in snrs
        for name, treatment in TREATMENTS.items()
    }
    return voiceprints, vectors


def equal_error_rate(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Return the error rate where as many owners are refused as strangers accepted."""
    thresholds = np.sort(np.concatenate([genuine, impostor]))
    missed = np.searchsorted(np.sort(genuine), thresholds) / len(genuine)
    matched = 1 - np.searchsorted(np.sort(impostor), thresholds) / len(impostor)
    place = int(np.argmin(np.abs(missed - matched)))
    return float(missed[place] + matched[place]) / 2


def speakers(part: str) -> Iterator[list[Samples]]:
    """Yield the recordings of each speaker of a part."""
    held_back = set((SPEECH / "heldback.txt").read_text(encoding="utf-8").split())
    for name, files in utterances_of(CORPUS):
        if (f"{CORPUS}/{name}" in held_back) == (part == "report"):
            yield [read_utterance(file).samples for file in files]


def main() -> None:
    """Print the equal error rate of every combination."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snr", type=float, nargs="*", default=[20.0, 10.0], help="dB")
    parser.add_argument("--part", choices=("report", "choose"), default="report")
    options = parser.parse_args()
    snrs: list[float | None] = [None, *options.snr]
    found = Parallel(2)(
        delayed(speaker_of)(number, sounds, snrs)
        for number, sounds in enumerate(speakers(options.part))
    )
    print(f"{len(found)} speakers; equal error rate in per cent")
    print(f"{'noise':10} {'probe':16} {'voiceprint as heard':>20} {'of both kinds':>14}")
    for snr in snrs:
        for name in TREATMENTS:
            rates = []
            for kind in ("as heard", "both"):
                alike = [
                    (owner is other, float(owner[0][kind] @ probe))
                    for owner in found
                    for other in found
                    for probe in other[1][snr, name]
                ]
                own = np.array([same for same, _ in alike])
                scores = np.array([score for _, score in alike])
                rates.append(100 * equal_error_rate(scores[own], scores[~own]))
            noise = "none" if snr is None else f"{snr:g} dB"
            print(f"{noise:10} {name:16} {rates[0]:20.2f} {rates[1]:14.2f}")


if __name__ == "__main__":
    main()
