"""Membrane's d-vectors beside those of the Resemblyzer package, on the same files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from resemblyzer import VoiceEncoder, preprocess_wav
from resemblyzer.audio import normalize_volume, trim_long_silences, wav_to_mel_spectrogram

from membrane.audio.files import read_utterance
from membrane.errors import PoorQuality
from membrane.voice.encoders.resemblyzer import DVectorEncoder
from membrane.voice.frontends.mels import mel_spectrogram
from membrane.voice.frontends.partials import PARTIAL_FRAMES, partial_starts
from membrane.voice.frontends.trimming import raise_volume, trim_silences

pytestmark = pytest.mark.parity

TESTS = Path(__file__).resolve().parents[1]
RECORDINGS = TESTS / "recordings"
SPEECH = TESTS.parents[1] / "shared" / "speech"

SAME_RATE = 0.9999
"""Least similarity where both read the same 16 kHz samples."""

RESAMPLED = 0.999
"""Least similarity where each resamples the file itself."""


@cache
def package() -> VoiceEncoder:
    torch.set_num_threads(1)
    return VoiceEncoder("cpu", verbose=False)


@cache
def ours() -> DVectorEncoder:
    return DVectorEncoder()


def package_refuses(samples: np.ndarray) -> bool:
    """Whether the package has no voice to show: not a number, or the vector of silence."""
    return len(samples) == 0 or bool(np.isnan(package().embed_utterance(samples)).any())


def similarity(path: Path) -> float:
    """Return the cosine of both vectors of a file; 1 where both find no voice in it."""
    with np.errstate(all="ignore"):
        prepared = preprocess_wav(path)
    try:
        embedding = ours().embed(read_utterance(path).samples)
    except PoorQuality:
        assert package_refuses(prepared), f"only Membrane refuses {path}"
        return 1.0
    expected, partials, _ = package().embed_utterance(prepared, return_partials=True)
    assert embedding.partials.shape == partials.shape, path
    return float(embedding.vector @ expected)


def check(files: Sequence[Path], least: float, record_property) -> None:
    results = {path: similarity(path) for path in files}
    worst = min(results, key=results.__getitem__)
    record_property("parity", f"{len(files)} files, least similarity {results[worst]:.8f}")
    assert results[worst] >= least, worst


def some(paths: Sequence[Path], count: int) -> list[Path]:
    """Return a share of the files, the same at every run."""
    return random.Random(20261121).sample(sorted(paths), min(count, len(paths)))


@pytest.mark.parametrize(
    ("folder", "count"),
    [
        ("librispeech", 100),
        ("librispeech-single", 170),
        ("speechocean762", 875),
        ("speech-commands", 1000),
    ],
)
def test_real_speech_at_16_khz_gives_the_package_vectors(folder, count, record_property):
    files = list((SPEECH / folder).rglob("*.flac"))
    if not files:
        pytest.skip(f"no recordings in {SPEECH / folder}")
    check(some(files, count), SAME_RATE, record_property)


def test_real_speech_at_8_khz_gives_nearly_the_package_vectors(record_property):
    files = list((SPEECH / "fsdd").rglob("*.flac"))
    if not files:
        pytest.skip(f"no recordings in {SPEECH / 'fsdd'}")
    check(some(files, 900), RESAMPLED, record_property)


def test_synthetic_voices_give_the_package_vectors(record_property):
    check(sorted(RECORDINGS.rglob("*.flac")), SAME_RATE, record_property)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_give_nearly_the_package_vectors(rate, tmp_path, record_property):
    import soxr

    files = []
    for source in sorted(RECORDINGS.rglob("*.flac"))[::7]:
        samples = soxr.resample(soundfile.read(source, dtype="float32")[0], 16000, rate)
        files.append(tmp_path / f"{source.stem}.wav")
        soundfile.write(files[-1], samples, rate, subtype="FLOAT")
    check(files, RESAMPLED, record_property)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(32000, np.float32),
        np.full(32000, 1e-4, np.float32),
        np.zeros(100, np.float32),
        np.sin(np.arange(48000) * 0.01).astype(np.float32),
        np.full(32000, 0.5, np.float32),
    ],
    ids=["silence", "a constant", "a click's length", "a tone", "a loud constant"],
)
def test_what_is_no_voice_is_refused_where_the_package_finds_none(samples, tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    assert similarity(path) >= SAME_RATE


@pytest.mark.parametrize("seed", range(20))
def test_noise_of_any_length_is_cut_and_measured_alike(seed):
    rng = np.random.default_rng(seed)
    bursts = np.repeat(rng.choice([0.0005, 0.2], 40), 1600)[: rng.integers(1000, 64000)]
    samples = (bursts * rng.standard_normal(len(bursts))).astype(np.float32)
    loud = normalize_volume(samples, -30, increase_only=True)
    np.testing.assert_allclose(raise_volume(samples), loud, rtol=1e-6)
    trimmed = trim_long_silences(loud)
    np.testing.assert_array_equal(trim_silences(loud), trimmed)
    expected = wav_to_mel_spectrogram(samples)
    np.testing.assert_allclose(mel_spectrogram(samples), expected, rtol=1e-4, atol=1e-7)


def test_every_length_is_cut_into_the_package_partials():
    for length in [*range(1, 3000, 7), *range(20_000, 200_000, 491)]:
        _, slices = VoiceEncoder.compute_partial_slices(length, rate=1.3, min_coverage=0.75)
        expected = [(part.start, part.stop) for part in slices]
        starts = partial_starts(length)
        assert [(start, start + PARTIAL_FRAMES) for start in starts] == expected, length
