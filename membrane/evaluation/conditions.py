"""Conditions: what is done to a probe before it is judged, as a room or a telephone would.

Every random choice depends on the probe's seed and the condition's name alone, so that each run,
on whatever backend, hears the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from os.path import commonpath
from pathlib import Path

import numpy as np

from membrane.audio.files import LONGEST_S
from membrane.audio.utterance import Samples, Utterance
from membrane.errors import NoSuchFile, UsageError
from membrane.evaluation.codecs import check_codec, coded
from membrane.evaluation.corpora.folders import find_sounds
from membrane.evaluation.disturbances import (
    AMBIENT,
    babble_from,
    first_speech,
    in_room,
    noise_from,
    pink_noise,
    response_from,
    white_noise,
    with_noise,
)
from membrane.models.registry import sha256_of

DEFAULT_SNRS_DB = (20.0, 10.0, 5.0, 0.0)
"""Signal-to-noise ratios where none is given."""

SNRS_DB = (-40.0, 100.0)
"""Decibels; beyond these either the voice or the noise is lost in the rounding."""

LENGTHS_S = (0.1, LONGEST_S)
"""Seconds of net speech that a probe may be cut to."""

MADE = {"pink": pink_noise, "white": white_noise}
"""Noises that need no files."""


@dataclass(frozen=True)
class Condition:
    """What is done to every probe; nothing for the recordings as they are.

    Parameters
    ----------
    name : str
        Such as ``"clean"``, ``"noise 10 dB"``, ``"reverb"``, ``"3 s"``, ``"telephone"``.
    kind : {"clean", "noise", "babble", "reverb", "seconds", "codec"}
    files : tuple of Path
        Noises, other people's speech, or room responses, of which each probe gets some.
    made : str
        ``"pink"`` or ``"white"`` for a synthesised noise instead of files; the codec's name.
    snr_db : float or None
    seconds : float or None
    """

    name: str = "clean"
    kind: str = "clean"
    files: tuple[Path, ...] = ()
    made: str = ""
    snr_db: float | None = None
    seconds: float | None = None

    def apply(self, utterance: Utterance, *, seed: int, avoid: Sequence[Path] = ()) -> Utterance:
        """Return the utterance as it is heard in this condition.

        Parameters
        ----------
        utterance : Utterance
            As it was read from a file.
        seed : int, not negative
            Of the probe, so that every probe gets another noise.
        avoid : sequence of Path
            Files of the probe's own. They, and where the babble has a folder for each speaker
            that of a name in their paths, are left out of the babble.

        Raises
        ------
        UsageError
            If no noise or response can be used, or too few voices for a babble.
        """
        named = int.from_bytes(sha256(self.name.encode()).digest()[:8], "big")
        chance = np.random.default_rng([seed, named])
        if self.kind == "reverb":
            return in_room(utterance, response_from(self.files, chance))
        if self.seconds is not None:
            return first_speech(utterance, self.seconds)
        if self.kind == "codec":
            return utterance.changed(samples=coded(utterance.samples, self.made))
        if self.snr_db is not None:
            noise = self._noise(AMBIENT + len(utterance.samples), chance, avoid)
            return with_noise(utterance, noise, self.snr_db)
        return utterance

    def _noise(self, length: int, chance: np.random.Generator, avoid: Sequence[Path]) -> Samples:
        if self.made:
            return MADE[self.made](length, chance)
        if self.kind == "babble":
            return babble_from(_others(self.files, avoid), length, chance)
        return noise_from(self.files, length, chance)

    def content_hash(self, *, avoid: Sequence[Path] = ()) -> str:
        """Return a hash of all that decides what is done to a probe, its seed aside.

        Parameters
        ----------
        avoid : sequence of Path
            As of `apply`.

        Returns
        -------
        str
            SHA-256, hexadecimal: of the contents of the files in their order, not of their names.
        """
        files = _others(self.files, avoid) if self.kind == "babble" else self.files
        parts = [self.name, self.kind, self.made, self.snr_db, self.seconds, _digest(files)]
        return sha256(json.dumps(parts).encode()).hexdigest()


CLEAN = Condition()
"""The recordings as they are."""


def conditions(  # noqa: PLR0913 (each is an option of the command)
    *,
    noise: str | None = None,
    babble: Path | None = None,
    snr: Sequence[float] = (),
    reverb: Path | None = None,
    seconds: Sequence[float] = (),
    codec: Sequence[str] = (),
) -> tuple[Condition, ...]:
    """Return the conditions that were asked for, the clean one first.

    Parameters
    ----------
    noise : str, optional
        A folder of noises; or, where there is no such folder, ``"pink"`` or ``"white"``.
    babble : Path, optional
        A folder of other people's speech, with a folder for each speaker or without.
    snr : sequence of float, dB
        Of noise and babble; by default `DEFAULT_SNRS_DB`.
    reverb : Path, optional
        A folder of room impulse responses.
    seconds : sequence of float, seconds
        Net speech to cut probes to.
    codec : sequence of str
        Names of `codecs.CODECS`.

    Raises
    ------
    UsageError
        If a folder holds no sound, a number is out of range or comes without noise, or a codec
        does not exist here.
    NoSuchFile
        If a folder is not there.
    """
    if snr and not (noise or babble):
        raise UsageError("a signal-to-noise ratio needs a noise: give --noise or --babble as well")
    ratios = [_within(each, SNRS_DB, "dB is no ratio") for each in snr] or DEFAULT_SNRS_DB
    lengths = [_within(each, LENGTHS_S, "s of speech cannot be kept") for each in seconds]
    found = [CLEAN]
    if noise:
        found += _in_noise(noise, ratios)
    if babble:
        files = _sound_files(babble)
        found += [_condition("babble", snr_db, files=files) for snr_db in ratios]
    if reverb:
        found.append(Condition("reverb", "reverb", _sound_files(reverb)))
    found += [Condition(f"{length:g} s", "seconds", seconds=length) for length in lengths]
    found += [Condition(name, "codec", made=check_codec(name)) for name in codec]
    return tuple(dict.fromkeys(found))


def _in_noise(noise: str, ratios: Sequence[float]) -> list[Condition]:
    if Path(noise).is_dir():
        files = _sound_files(Path(noise))
        return [_condition("noise", snr_db, files=files) for snr_db in ratios]
    if noise in MADE:
        return [_condition(f"{noise} noise", snr_db, made=noise) for snr_db in ratios]
    raise NoSuchFile(f"there is no folder {noise!r}: give one with noises, or {' or '.join(MADE)}")


def _condition(
    what: str, snr_db: float, *, files: tuple[Path, ...] = (), made: str = ""
) -> Condition:
    kind = "babble" if what == "babble" else "noise"
    return Condition(f"{what} {snr_db:g} dB", kind, files, made, snr_db)


def _sound_files(folder: Path) -> tuple[Path, ...]:
    return tuple(sound.path for sound in find_sounds([folder], []))


def _within(value: float, limits: tuple[float, float], problem: str) -> float:
    if not limits[0] <= value <= limits[1]:
        raise UsageError(f"{value:g} {problem}: use {limits[0]:g} to {limits[1]:g}")
    return value


def _others(files: Sequence[Path], avoid: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files of other people, as far as the names of folders tell."""
    names = {part for path in avoid for part in path.parent.parts}
    return tuple(
        file
        for file, speaker in zip(files, _speakers(tuple(files)), strict=True)
        if file not in avoid and speaker not in names
    )


@lru_cache
def _speakers(files: tuple[Path, ...]) -> tuple[str, ...]:
    """Return the folder of each file's speaker; empty where all lie in one folder."""
    shared = commonpath([file.parent for file in files]) if files else ""
    return tuple(next(iter(file.parent.relative_to(shared).parts), "") for file in files)


@lru_cache
def _digest(files: tuple[Path, ...]) -> str:
    return sha256("".join(map(_digest_of, files)).encode()).hexdigest()


@cache
def _digest_of(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return ""  # whoever picks it takes another
