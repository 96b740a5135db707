"""Voice login for the terminal.

The public names: `Membrane` enrols people and tells whether somebody is who they say they are, an
`Utterance` is one recording, a `Decision` is the answer, and all that is raised on purpose is a
`MembraneError`. What needs numpy is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from membrane.errors import (
    Declined,
    Disagreement,
    EncoderMismatch,
    EngineUnavailable,
    InvalidName,
    LockedOut,
    MembraneError,
    MicrophoneUnavailable,
    ModelUnavailable,
    NameTaken,
    NoSuchFile,
    NotTheOwner,
    OutputUnwritable,
    PersonError,
    PoorQuality,
    RecordingTooLong,
    RoomNotQuiet,
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreUnreadable,
    StoreUnwritable,
    Unavailable,
    UndecodableAudio,
    UnknownName,
    UnusableRecording,
    UsageError,
    WrongKey,
)

if TYPE_CHECKING:
    from membrane.audio.utterance import Utterance
    from membrane.login.decision import Decision
    from membrane.login.membrane import Membrane

__version__ = "0.2.0"

__all__ = [
    "Decision",
    "Declined",
    "Disagreement",
    "EncoderMismatch",
    "EngineUnavailable",
    "InvalidName",
    "LockedOut",
    "Membrane",
    "MembraneError",
    "MicrophoneUnavailable",
    "ModelUnavailable",
    "NameTaken",
    "NoSuchFile",
    "NotTheOwner",
    "OutputUnwritable",
    "PersonError",
    "PoorQuality",
    "RecordingTooLong",
    "RoomNotQuiet",
    "StoreDamaged",
    "StoreError",
    "StoreLocked",
    "StoreUnreadable",
    "StoreUnwritable",
    "Unavailable",
    "UndecodableAudio",
    "UnknownName",
    "UnusableRecording",
    "UsageError",
    "Utterance",
    "WrongKey",
    "__version__",
]

_HOMES = {
    "Decision": "membrane.login.decision",
    "Membrane": "membrane.login.membrane",
    "Utterance": "membrane.audio.utterance",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module where it lives (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Name what is not imported yet, too."""
    return sorted({*globals(), *_HOMES})
