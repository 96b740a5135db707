"""The calibration of an encoder: from similarity to decision, and the file that keeps it.

Conventions
-----------
A calibration file holds a table per encoder and normalisation, ``[resemblyzer.centre]``; an
encoder's first table is the one in use unless another is asked for.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w

from membrane.errors import ModelUnavailable, OutputUnwritable, UsageError, in_one_line
from membrane.models import registry as models
from membrane.system.atomic import write_whole
from membrane.voice.levels import Threshold
from membrane.voice.ratio import LIMITS, Circumstances, Floats, Influence, Line

__all__ = ["Calibration", "Circumstances", "load_calibration", "require_place"]

DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""Errors from reading a damaged file, or one with numbers where text should be."""

MOST = 1e6
"""Largest number in a fit. Ratios overflow with greater ones."""


@dataclass(frozen=True)
class Calibration:
    """How one encoder's similarities are judged.

    Parameters
    ----------
    encoder : str
        Name of the encoder.
    normalisation : {"none", "centre", "as-norm"}
        Normalisation of the similarities.
    line : Line
        From similarity to log-likelihood ratio.
    thresholds : mapping of str to Threshold
        By security level. A level without enough data is missing.
    gains : tuple of (seconds, float)
        Median log-likelihood ratio of honest comparisons by net speech, as it was measured.
    provenance : mapping
        Data it was fitted on: text, numbers and lists of them.
    """

    encoder: str
    normalisation: str
    line: Line
    thresholds: Mapping[str, Threshold]
    gains: tuple[tuple[float, float], ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def llr(self, similarities: float | Floats, circumstances: Circumstances) -> Floats:
        """Return log-likelihood ratios, as `Line.llr` does."""
        return self.line.llr(similarities, circumstances)

    def threshold(self, level: str) -> Threshold:
        """Return the threshold of a security level.

        Raises
        ------
        UsageError
            If the calibration has none.
        """
        if level not in self.thresholds:
            raise UsageError(
                f"this calibration does not reach {level}: calibrate with more speakers, "
                "or --extrapolate"
            )
        return self.thresholds[level]

    def as_toml(self) -> str:
        """Return the text of a calibration file that holds this one."""
        return tomli_w.dumps({self.encoder: {self.normalisation: self._plain()}})

    def save(self, path: Path) -> None:
        """Write the calibration to a file, as the first of its encoder. Others in it are kept.

        The previous file becomes ``<name>.previous``.

        Raises
        ------
        OutputUnwritable
            If that is not possible.
        """
        require_place(path)
        tables, place = _tables(path), path.resolve()
        kept = tables.get(self.encoder)
        others = kept if isinstance(kept, Mapping) else {}
        # The name occurs twice: this calibration takes the first place and the value.
        mine = {self.normalisation: None, **others, self.normalisation: self._plain()}
        try:
            json.dumps(tables)  # a calibration holds text and numbers, but no dates
            # File names may hold half characters, which a text file cannot.
            text = tomli_w.dumps({**tables, self.encoder: mine}).encode("utf-8", "replace")
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                write_whole(place.with_name(f"{place.name}.previous"), place.read_bytes())
            write_whole(place, text, mode=0o600)
        except OSError as error:
            raise OutputUnwritable(
                f"the calibration {path} cannot be written ({error.strerror}): choose another place"
            ) from None
        except TypeError as error:
            raise OutputUnwritable(
                f"{path} holds more than calibrations ({error}): choose another place"
            ) from None

    def _plain(self) -> dict[str, Any]:
        return {
            "intercept": self.line.intercept,
            "slope": self.line.slope,
            "gains": [list(gain) for gain in self.gains],
            "influences": {
                influence.measure: {
                    name: value for name, value in asdict(influence).items() if name != "measure"
                }
                for influence in self.line.influences
            },
            "thresholds": {level: asdict(one) for level, one in self.thresholds.items()},
            "provenance": dict(self.provenance),
        }

    @classmethod
    def _of_plain(cls, encoder: str, normalisation: str, table: Mapping[str, Any]) -> Calibration:
        influences = (Influence(it, **numbers) for it, numbers in table["influences"].items())
        calibration = cls(
            encoder=encoder,
            normalisation=normalisation,
            line=Line(float(table["intercept"]), float(table["slope"]), tuple(influences)),
            thresholds={level: Threshold(**one) for level, one in table["thresholds"].items()},
            gains=tuple((float(speech_s), float(llr)) for speech_s, llr in table["gains"]),
            provenance=table["provenance"],
        )
        _require_sound(calibration)
        return calibration


def require_place(path: Path) -> None:
    """Refuse a path that a calibration clearly cannot be written to.

    Raises
    ------
    OutputUnwritable
        If it is a folder, a device or a pipe, which must not be replaced, or its folder is missing.
    """
    if path.exists() and not path.is_file():
        raise OutputUnwritable(
            f"the calibration {path} cannot be written (it is no ordinary file): "
            "choose another place"
        )
    if path.exists() and not os.access(path, os.R_OK):  # its content must be kept
        raise OutputUnwritable(
            f"the calibration {path} cannot be replaced, because it cannot be read: "
            "choose another place"
        )
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise OutputUnwritable(
            f"the calibration {path} cannot be written into {place}: choose another place"
        )


def load_calibration(
    encoder: str, normalisation: str = "", *, path: Path | None = None
) -> Calibration:
    """Return the calibration of an encoder.

    Parameters
    ----------
    encoder : str
        Name of the encoder.
    normalisation : {"", "none", "centre", "as-norm"}
        Empty for the one that the file puts first.
    path : Path, optional
        The user's own file. If it is missing or lacks the encoder, the shipped one is read.

    Raises
    ------
    UsageError
        If the user's file is damaged, or nothing was fitted for this normalisation.
    ModelUnavailable
        If the shipped file is missing or damaged.
    """
    found = (path and _own(path, encoder, normalisation)) or _shipped(encoder, normalisation)
    if found is None:
        raise UsageError(
            f"nothing was calibrated for {encoder} with the normalisation {normalisation!r}: "
            "calibrate with it, or choose another"
        )
    return found


def _own(path: Path, encoder: str, normalisation: str) -> Calibration | None:
    try:
        return _read(path, encoder, normalisation)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(
            f"the calibration {path} cannot be read ({error.strerror}): make it readable, or move "
            "it away"
        ) from None
    except DAMAGED as error:
        raise UsageError(
            f"the calibration {path} is damaged ({in_one_line(error)}): calibrate again, "
            "or delete it"
        ) from None


@cache
def _shipped(encoder: str, normalisation: str) -> Calibration | None:
    path = models.shipped_folder() / f"{encoder}.calibration.toml"
    try:
        return _read(path, encoder, normalisation)
    except DAMAGED as error:
        raise ModelUnavailable(
            f"the calibration {path} cannot be read ({in_one_line(error)}): reinstall Membrane"
        ) from None


def _read(path: Path, encoder: str, normalisation: str) -> Calibration | None:
    tables = tomllib.loads(path.read_text(encoding="utf-8")).get(encoder, {})
    chosen = normalisation or next(iter(tables), "")
    if chosen not in tables:
        return None
    return Calibration._of_plain(encoder, chosen, tables[chosen])


def _require_sound(calibration: Calibration) -> None:
    """Raise ValueError if a number would make decisions meaningless."""
    line = calibration.line
    for influence in line.influences:
        lowest, highest = LIMITS[influence.measure]
        if not lowest <= influence.low <= influence.high <= highest:
            raise ValueError(f"the range of {influence.measure} is none")
        if not abs(influence.weight) <= MOST:
            raise ValueError(f"the weight of {influence.measure} is not a number")
    if not (abs(line.intercept) <= MOST and abs(line.slope) <= MOST and line.least_slope > 0):
        raise ValueError("its ratio does not grow with the similarity")
    if not all(abs(one.llr) <= MOST for one in calibration.thresholds.values()):
        raise ValueError("a threshold is not a number")


def _tables(path: Path) -> dict[str, Any]:
    """Return the content of a calibration file, or nothing if it is missing or damaged."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
