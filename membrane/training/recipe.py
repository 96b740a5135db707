"""The recipe of a training: every number that decides the result, in one TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import tomli_w

from membrane.errors import UsageError
from membrane.evaluation.corpora.labels import printable, read_text

PRECISIONS = ("bfloat16", "float32")

LARGEST = float(2**53)
"""Limit of counts and seeds: the largest that a TOML reader may keep exactly as a float."""

Pair = tuple[float, float]
Kind = TypeVar("Kind")


def _number(default: float, least: float, most: float = LARGEST) -> Any:
    """Return a field that holds a number between two limits."""
    return field(default=default, metadata={"limits": (least, most)})


def _range(lower: float, upper: float, limits: Pair) -> Any:
    """Return a field that holds two numbers between two limits."""
    return field(default=(lower, upper), metadata={"limits": limits})


def _share(default: float) -> Any:
    return _number(default, 0.0, 1.0)


@dataclass(frozen=True)
class NoiseKinds:
    """How often each kind of noise is used. Only the ratios count.

    Parameters
    ----------
    babble : float
        Other training speakers who talk at once.
    files : float
        Noises from the given folders, or coloured noise without any.
    coloured, tonal, bursts : float
        As `membrane.training.synthesis` makes them.
    """

    babble: float = _share(0.34)
    files: float = _share(0.26)
    coloured: float = _share(0.24)
    tonal: float = _share(0.08)
    bursts: float = _share(0.08)


@dataclass(frozen=True)
class Codecs:
    """How often each codec of `membrane.evaluation.codecs` is used. Only the ratios count."""

    telephone: float = _share(0.4)
    gsm: float = _share(0.2)
    mp3: float = _share(0.2)
    opus: float = _share(0.2)


@dataclass(frozen=True)
class AugmentationRecipe:
    """What happens to a stretch of speech before the network hears it.

    Parameters
    ----------
    clean_share : float
        Share of stretches that are only coloured and levelled. The other shares are of the rest.
    colour_share : float
        Share of all stretches whose timbre changes, as with another microphone.
    colour_db : (float, float), dB
        Range of the standard deviation of that change over frequency.
    room_share, room_files_share : float
        Share of stretches heard in a room, and the share of those in a measured room, if given.
    noise_share, second_noise_share : float
        Share of stretches in noise, and the share of those in two noises.
    snr_db : (float, float), dB
        Range of the power of speech over that of the first noise.
    second_noise_db : float, dB
        How much weaker the second noise is.
    voices : (float, float)
        Range of the number of people in a babble.
    band_share, codec_share, clipping_share : float
        Shares of stretches that are cut to a band, coded or clipped; never two of these.
    level_dbfs : (float, float), dB relative to full scale
        Range of the level at which the network hears the whole.
    speed_share : float
        Share of speakers who are played faster or slower. They count as other speakers.
    speeds : (float, float)
        The two factors.
    """

    clean_share: float = _share(0.3)
    colour_share: float = _share(0.3)
    colour_db: tuple[float, float] = _range(0.0, 4.0, (0.0, 30.0))
    room_share: float = _share(0.35)
    room_files_share: float = _share(0.2)
    noise_share: float = _share(0.85)
    second_noise_share: float = _share(0.15)
    snr_db: tuple[float, float] = _range(-3.0, 20.0, (-30.0, 90.0))
    second_noise_db: float = _number(5.0, 0.0, 90.0)
    voices: tuple[float, float] = _range(1.0, 7.0, (1.0, 100.0))
    band_share: float = _share(0.12)
    codec_share: float = _share(0.12)
    clipping_share: float = _share(0.05)
    level_dbfs: tuple[float, float] = _range(-29.0, -14.0, (-60.0, 0.0))
    speed_share: float = _share(0.4)
    speeds: tuple[float, float] = _range(0.88, 1.14, (0.5, 2.0))
    noises: NoiseKinds = NoiseKinds()
    codecs: Codecs = Codecs()


@dataclass(frozen=True)
class ObjectiveRecipe:
    """The loss: a weighted sum of the terms of `membrane.training.objectives`.

    Parameters
    ----------
    distillation : float
        Weight of one minus the cosine to the target, of partials and of the whole in equal parts.
    speaker_blend : float
        Share of the speaker's mean in the target; the rest is the teacher's vector of the
        utterance.
    margin, margin_scale, margin_angle : float
        Weight of the additive-angular-margin softmax, its scale, and its margin in radians.
    contrastive, contrastive_scale : float
        Weight and scale of the symmetric InfoNCE between two utterances of each speaker.
    ge2e : float
        Weight of the generalised end-to-end loss.
    mask : float
        Weight of the distance from the cleaned spectrogram to that of the speech alone.
    """

    distillation: float = _number(1.0, 0.0, 1000.0)
    speaker_blend: float = _share(0.5)
    margin: float = _number(0.0, 0.0, 1000.0)
    margin_scale: float = _number(20.0, 1.0, 1000.0)
    margin_angle: float = _number(0.1, 0.0, 1.0)
    contrastive: float = _number(0.1, 0.0, 1000.0)
    contrastive_scale: float = _number(12.0, 0.1, 1000.0)
    ge2e: float = _number(0.0, 0.0, 1000.0)
    mask: float = _number(0.1, 0.0, 1000.0)


@dataclass(frozen=True)
class NetworkRecipe:
    """Parts that are added to the pretrained network.

    Parameters
    ----------
    front : bool
        A mask that takes noise out of the mel spectrogram.
    side : bool
        The logarithm of the spectrogram as a second input; needs the front.
    attention : bool
        Weigh partials by how much the network trusts them instead of equally.
    projection : bool
        Vectors are projected at the end, as `membrane.training.finishing` finds best.
    """

    front: bool = True
    side: bool = True
    attention: bool = True
    projection: bool = True


@dataclass(frozen=True)
class Recipe:
    """All numbers of a training. Together with the data they decide its result.

    The defaults are those of the shipped encoder (``benchmarks/accuracy/NOTES.md``), but for the
    share of validation speakers: of few speakers an eighth would be too few.

    Parameters
    ----------
    steps : int
        Number of batches to learn from.
    front_steps : int
        Number of first steps, at most half, in which only the front learns, from the mask alone.
        Without a front there are none.
    front_rate : float
        Peak learning rate of these steps.
    speakers : int
        Speakers in a batch, with two utterances each.
    frames : int
        Frames of 10 ms in a row of a batch.
    learning_rate : float
        Peak learning rate of the layers that come from the teacher.
    new_layers_factor : float
        How much faster the other layers learn.
    prototypes_factor : float
        How much faster the parameters of an objective learn.
    warmup_share : float
        Share of steps in which the learning rate rises; then it falls (one cycle).
    gradient_limit : float
        Largest norm of the gradients.
    average_decay : float
        Decay of the moving average of the weights. The average is what is kept.
    precision : {"bfloat16", "float32"}
        Precision in which the network computes while it learns.
    short_share : float
        How often a speaker of single words is drawn for each time that one of sentences is.
    raw_share : float
        Share of stretches that keep their silences.
    join_share : float
        Share of too short stretches that continue with another utterance of the speaker.
    validation_share : float
        Share of the speakers of each corpus, and of the noises, kept for validation.
    validate_every : int
        Steps between two validations.
    patience : int
        End early after this many validations without a lower error.
    blends : int
        Number of shares of the teacher's weights to try on the best network at the end.
    whitening_batches : int
        Number of batches that the projection is computed from.
    whitening_power : float
        0 leaves directions as they are; at 1/2 voices of one person differ alike in all of them.
    whitening_shrinkage : float
        How many times the mean variance is added to the variance of each direction.
    """

    steps: int = _number(1900, 1)
    front_steps: int = _number(700, 0)
    front_rate: float = _number(3e-3, 1e-9, 1.0)
    speakers: int = _number(20, 2, 10_000)
    frames: int = _number(237, 160, 30_000)
    learning_rate: float = _number(3e-4, 1e-9, 1.0)
    new_layers_factor: float = _number(1.0, 0.001, 1000.0)
    prototypes_factor: float = _number(3.0, 0.001, 1000.0)
    warmup_share: float = _number(0.15, 0.0, 0.99)
    gradient_limit: float = _number(3.0, 1e-6, 1e6)
    average_decay: float = _number(0.998, 0.0, 0.999999)
    precision: str = "bfloat16"
    short_share: float = _number(0.2, 0.001, 1.0)
    raw_share: float = _share(0.5)
    join_share: float = _share(0.85)
    validation_share: float = _number(0.2, 0.0, 0.9)
    validate_every: int = _number(600, 1)
    patience: int = _number(10, 1)
    blends: int = _number(4, 0, 100)
    whitening_batches: int = _number(300, 1)
    whitening_power: float = _number(0.5, 0.0, 1.0)
    whitening_shrinkage: float = _number(0.5, 1e-6, 1e6)
    seed: int = _number(0, 0)
    augmentation: AugmentationRecipe = AugmentationRecipe()
    objectives: ObjectiveRecipe = ObjectiveRecipe()
    network: NetworkRecipe = NetworkRecipe()

    @property
    def alone(self) -> int:
        """Number of first steps in which only the front learns."""
        return min(self.front_steps, self.steps // 2) if self.network.front else 0

    def check(self) -> Recipe:
        """Return the recipe if it is usable.

        Raises
        ------
        UsageError
            If a value has the wrong type or is out of range, or two values contradict each other.
        """
        _check_values(self)
        sound, vector = self.augmentation, self.objectives
        contradictions = {
            f"the precision {self.precision!r:.60} does not exist: choose from "
            f"{', '.join(PRECISIONS)}": self.precision not in PRECISIONS,
            "network.side needs network.front: switch both on, or both off": (
                self.network.side and not self.network.front
            ),
            "augmentation.band_share, codec_share and clipping_share are more than 1 together: "
            "lower them": sound.band_share + sound.codec_share + sound.clipping_share > 1,
            "augmentation.noises are all 0: raise one, or set noise_share to 0": (
                sound.noise_share and not any(asdict(sound.noises).values())
            ),
            "augmentation.codecs are all 0: raise one, or set codec_share to 0": (
                sound.codec_share and not any(asdict(sound.codecs).values())
            ),
            "every objective weighs nothing: give one a weight above 0": not (
                vector.distillation or vector.margin or vector.contrastive or vector.ge2e
            ),
        }
        for message, found in contradictions.items():
            if found:
                raise UsageError(message)
        return self

    def as_toml(self) -> str:
        """Return the text of the file from which `read_recipe` reads the same recipe."""
        return tomli_w.dumps(asdict(self))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe. Missing values are those of ``Recipe()``.

    Parameters
    ----------
    path : Path
        TOML, as `Recipe.as_toml` writes it.

    Raises
    ------
    NoSuchFile
        If it is not there or cannot be read.
    UsageError
        If it is not TOML, has an unknown name, or has a value of the wrong type.
    """
    text = read_text(path)
    try:
        return _filled(Recipe(), tomllib.loads(text), "").check()
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the recipe {printable(path)} cannot be read: {error}") from None
    except UsageError as error:
        raise UsageError(f"the recipe {printable(path)}: {error}") from None


def _filled(defaults: Kind, table: Mapping[str, Any], path: str) -> Kind:
    """Return a dataclass with the checked values of a table in place of its defaults."""
    values = {each.name: getattr(defaults, each.name) for each in fields(cast(Any, defaults))}
    for name, value in table.items():
        if name not in values:
            raise UsageError(
                f"{printable(path + name):.60} is not known: choose from {', '.join(values)}"
            )
        values[name] = _converted(value, values[name], path + name)
    return type(defaults)(**values)


def _converted(value: Any, default: Any, name: str) -> Any:
    """Return a value in the form of the default it replaces."""
    if is_dataclass(default):
        if not isinstance(value, Mapping):
            raise UsageError(f"{name} must be a table: write [{name}]")
        return _filled(default, value, f"{name}.")
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(map(_as_float, value))
    return _as_float(value) if isinstance(default, float) else value


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int and abs(value) <= LARGEST else value


def _check_values(values: Any, path: str = "") -> None:
    for each in fields(values):
        value, name = getattr(values, each.name), path + each.name
        if is_dataclass(value):
            _check_values(value, f"{name}.")
        elif "limits" in each.metadata:
            _check_number(value, each.default, name, each.metadata["limits"])
        elif type(value) is not type(each.default):
            what = "true or false" if isinstance(each.default, bool) else "text in quotes"
            raise UsageError(f"{name} is {value!r:.60}: it must be {what}")


def _check_number(value: Any, default: Any, name: str, limits: Pair) -> None:
    """Refuse a value that differs from the default in type or length, or is out of range."""
    least, most = (f"{limit:g}" for limit in limits)
    allowed = f"from {least}" if limits[1] == LARGEST else f"from {least} to {most}"
    if isinstance(default, tuple):
        fits = isinstance(value, tuple) and len(value) == 2
        fits = fits and all(_fits(one, float, limits) for one in value) and value[0] <= value[1]
        kind = "two numbers, the lower one first,"
    else:
        fits = _fits(value, type(default), limits)
        kind = "a whole number" if isinstance(default, int) else "a number"
    if not fits:
        raise UsageError(f"{name} is {value!r:.60}: it must be {kind} {allowed}")


def _fits(value: Any, kind: type, limits: Pair) -> bool:
    number = isinstance(value, (int, kind)) and not isinstance(value, bool)
    return number and math.isfinite(value) and limits[0] <= value <= limits[1]
