"""Write tests/voice/encoders/reference_vectors.npz: the Resemblyzer package on tests/recordings.

Runs where requirements-reference.txt is installed, after the recordings have changed::

    .venv-reference/bin/python -W ignore scripts/make_reference_vectors.py

Keys are file names below tests/recordings; ``@44100`` after one stands for the same recording
resampled to that rate and written as 32-bit floating-point WAV.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
from resemblyzer import VoiceEncoder, preprocess_wav

TESTS = Path(__file__).resolve().parents[1] / "tests"
RECORDINGS = TESTS / "recordings"
VECTORS = TESTS / "voice" / "encoders" / "reference_vectors.npz"
RATES = (8_000, 44_100)


def resampled(source: Path, rate: int, folder: Path) -> Path:
    """Return a copy of a recording at another rate."""
    samples, own_rate = soundfile.read(source, dtype="float32")
    path = folder / f"{rate}.wav"
    soundfile.write(path, soxr.resample(samples, own_rate, rate), rate, subtype="FLOAT")
    return path


def main() -> None:
    """Embed every recording, and the first one at other rates too."""
    encoder = VoiceEncoder("cpu", verbose=False)
    sources = {str(path.relative_to(RECORDINGS)): path for path in RECORDINGS.rglob("*.flac")}
    with TemporaryDirectory() as folder:
        name = min(sources)
        copies = {f"{name}@{rate}": resampled(sources[name], rate, Path(folder)) for rate in RATES}
        vectors = {
            key: encoder.embed_utterance(preprocess_wav(path))
            for key, path in sorted((sources | copies).items())
        }
    np.savez_compressed(VECTORS, **vectors)
    print(f"{VECTORS}: {len(vectors)} vectors")


if __name__ == "__main__":
    main()
