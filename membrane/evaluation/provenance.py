"""Provenance: what was measured on what, so that a figure can be made again."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from membrane import __version__, models
from membrane.errors import MembraneError
from membrane.evaluation.recordings import Recording
from membrane.settings import Settings

LIBRARIES = ("joblib", "noisereduce", "numpy", "onnxruntime", "scipy", "soundfile", "soxr")
"""Libraries whose versions can move a figure."""


def provenance_of(recordings: Iterable[Recording], settings: Settings) -> dict[str, Any]:
    """Return the recordings' numbers and hash, the versions, the settings and the command.

    Parameters
    ----------
    recordings : iterable of Recording
    settings : Settings
    """
    different = set(recordings)
    files = {file for one in different for file in one.files}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["membrane", *sys.argv[1:]]),
        "speakers": len({one.speaker for one in different}),
        "recordings": len(different),
        "files": len(files),
        "recordings_sha256": content_hash(different),
        "encoder": settings.encoder,
        "encoder_sha256": models.find(settings.encoder).sha256,
        "settings": {
            name: str(value)
            for name, value in asdict(settings).items()
            if value and value != getattr(Settings, name)
        },
        "versions": {
            "membrane": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }


def content_hash(recordings: Iterable[Recording]) -> str:
    """Return one SHA-256 of the contents of recordings, whatever their order; missing files too."""
    hashes = sorted(f"{one.speaker} {_hash(one)}" for one in recordings)
    return sha256("\n".join(hashes).encode()).hexdigest()


def _hash(recording: Recording) -> str:
    try:
        return recording.content_hash()
    except MembraneError:
        return "unreadable"
