"""Voices: every recording's embedding, computed in parallel and kept by content."""

from __future__ import annotations

from dataclasses import dataclass

from membrane.audio.quality import Quality
from membrane.evaluation.conditions import CLEAN, Condition
from membrane.evaluation.recordings import Recording
from membrane.voice.encoder import Embedding


@dataclass(frozen=True)
class Job:
    """One recording to be heard.

    Parameters
    ----------
    recording : Recording
    condition : Condition
    enrolling : bool
        Hear it as an enrolment does (`Examiner.examine`).
    """

    recording: Recording
    condition: Condition = CLEAN
    enrolling: bool = False


@dataclass(frozen=True, eq=False)
class Heard:
    """What became of a job.

    Parameters
    ----------
    embedding : Embedding or None
        None where there is none.
    quality : Quality or None
        None where the file could not be read.
    denoised : bool
    problem : {"", "refused", "unreadable"}
        Refused by the quality gate, or not readable as sound.
    reason : str
        The problem in plain words.
    """

    embedding: Embedding | None
    quality: Quality | None
    denoised: bool = False
    problem: str = ""
    reason: str = ""
