"""Every error Membrane raises on purpose, and the exit code that each ends a command with.

::

    MembraneError
    ├── LockedOut                  1   too many failures: nobody of that name may try now
    ├── UsageError                 2   the command was called wrongly
    │   ├── InvalidName                a name that no person may have
    │   └── NoSuchFile                 a file that does not exist
    ├── UnusableRecording          3   nothing can be judged from this sound
    │   ├── UndecodableAudio           not audio, damaged, or not finite numbers
    │   ├── RecordingTooLong           longer than a recording may be
    │   ├── PoorQuality                silence, too short, too noisy, clipped
    │   │   └── RoomNotQuiet           somebody spoke while the room was recorded
    │   └── Disagreement               enrolment phrases that do not sound like one person
    ├── PersonError                4
    │   ├── NameTaken                  somebody of that name is enrolled already
    │   └── UnknownName                nobody of that name is enrolled
    ├── StoreError                 5
    │   ├── StoreDamaged               the file is not a readable voiceprint database
    │   ├── StoreUnreadable            it cannot be read (permissions, a failing disk)
    │   ├── StoreLocked                another process holds it
    │   ├── WrongKey                   it is encrypted, and the key is missing or another's
    │   ├── NotTheOwner                only whoever owns the file may do that
    │   └── StoreUnwritable            it cannot be written (permissions, full disk)
    ├── Unavailable                6
    │   ├── MicrophoneUnavailable      no PortAudio, no device, or the device failed
    │   ├── EngineUnavailable          a recognizer or encoder cannot run here
    │   ├── ModelUnavailable           a model file is missing or not the one registered
    │   └── EncoderMismatch            voiceprint and probe come from different encoders
    ├── OutputUnwritable           7   results or a recording cannot be written
    └── Declined                 130   a confirmation was answered with no

A message is one line: what happened, and after a colon or full stop what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


def in_one_line(error: BaseException) -> str:
    """Return what an error of another library says, without its line ends."""
    return " ".join(str(error).split())


class MembraneError(Exception):
    """Base of every error that Membrane raises on purpose."""

    exit_code: ClassVar[int] = 2


class LockedOut(MembraneError):
    """Too many logins failed under this name: it must wait, or be unlocked."""

    exit_code = 1


class UsageError(MembraneError):
    """The command or function was called wrongly."""


class InvalidName(UsageError):
    """A name that no person may have."""


class NoSuchFile(UsageError):
    """A file that was named does not exist or is not a file."""


class UnusableRecording(MembraneError):
    """Nothing can be judged from this recording."""

    exit_code = 3


class UndecodableAudio(UnusableRecording):
    """The bytes are not audio, are damaged, or hold numbers that are not finite."""


class RecordingTooLong(UnusableRecording):
    """The recording is longer than Membrane reads."""


class PoorQuality(UnusableRecording):
    """Silence, too little speech, too much noise, or clipping."""


class RoomNotQuiet(PoorQuality):
    """Somebody spoke while the room was recorded: ask for quiet and record it again."""


class Disagreement(UnusableRecording):
    """Enrolment phrases that do not sound like one person, or not like the words asked for."""


class PersonError(MembraneError):
    """A person is enrolled who should not be, or the other way round."""

    exit_code = 4


class NameTaken(PersonError):
    """Somebody of that name is enrolled already."""


class UnknownName(PersonError):
    """Nobody of that name is enrolled."""


class StoreError(MembraneError):
    """The voiceprint database cannot be used."""

    exit_code = 5


class StoreDamaged(StoreError):
    """The file is not a readable voiceprint database."""


class StoreUnreadable(StoreError):
    """The database cannot be read: permissions, a failing disk, not a file."""


class StoreLocked(StoreError):
    """Another process has held the database for too long."""


class WrongKey(StoreError):
    """The database is encrypted, and its key is missing or another one."""


class NotTheOwner(StoreError):
    """Only whoever owns the database may do that."""


class StoreUnwritable(StoreError):
    """The database cannot be written: permissions, a full disk."""


class Unavailable(MembraneError):
    """A device, engine or model that is needed is not here."""

    exit_code = 6


class MicrophoneUnavailable(Unavailable):
    """There is no PortAudio, no such device, or the device failed."""


class EngineUnavailable(Unavailable):
    """A recognizer or an encoder cannot run here, or died while it ran."""


class ModelUnavailable(Unavailable):
    """A model file is missing or is not the one that the registry names."""


class EncoderMismatch(Unavailable):
    """Voiceprint and probe come from different encoders and are never compared."""


class OutputUnwritable(MembraneError):
    """Results or a recording cannot be written."""

    exit_code = 7


class Declined(MembraneError):
    """A confirmation was answered with no."""

    exit_code = 130
