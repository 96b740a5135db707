"""Embed sounds with the Resemblyzer package as it is shipped; runs in the package's environment.

    .venv-reference/bin/python benchmarks/accuracy/reference.py

Each line of standard input is the path of an ``.npz`` file with one float32 signal at 16 kHz per
entry. The vectors are written beside it as ``.npy``, and the path is answered when they are there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from resemblyzer import VoiceEncoder, preprocess_wav


def embed(encoder: VoiceEncoder, samples: np.ndarray) -> np.ndarray:
    """Return the vector of one recording; not-a-number where the package finds no voice."""
    with np.errstate(invalid="ignore"):
        return encoder.embed_utterance(preprocess_wav(samples))


def main() -> None:
    """Answer requests until standard input ends."""
    encoder = VoiceEncoder("cpu", verbose=False)
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        with np.load(path) as sounds:
            vectors = [embed(encoder, sounds[name]) for name in sounds.files]
        np.save(path.with_suffix(".npy"), np.stack(vectors))
        print(path, flush=True)


if __name__ == "__main__":
    main()
