"""Where data lives and what was chosen: file, then environment, then option, the last one wins."""

from __future__ import annotations

import os
import tomllib
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from membrane.errors import UsageError

SECURITY_LEVELS = ("convenient", "balanced", "strict")
SWITCH = ("on", "off")

CHOICES = {
    "security": SECURITY_LEVELS,
    "metric": ("cosine", "euclidean"),
    "denoise": ("auto", "always", "never"),
    "prompt": ("digits", "words"),
    "normalise": ("none", "centre", "as-norm"),
    "lockout": SWITCH,
    "replay": ("refuse", "allow"),
    "scores": ("hide", "show"),
    "adapt": SWITCH,
    "log": SWITCH,
    "protection": ("optional", "required"),
}

EVALUATING = {"lockout": "off", "replay": "allow", "log": "off"}
"""Settings of evaluators, who judge the same recordings again and again: nothing is counted,
remembered or written down."""

MOST_ATTEMPTS = 10

THRESHOLDS = {"cosine": (-1.0, 1.0), "euclidean": (0.0, 2.0)}
"""Least and greatest number that each metric can give for two vectors of length 1."""

MEASURES = {"cosine": "cosine", "euclidean": "distance"}
"""What the numbers of each metric are called."""

ENGINE_OF_FILES = "deepspeech"
"""The recognizer that takes a model and a scorer of one's own."""


def home() -> Path:
    """Return the folder of all that is kept: ``MEMBRANE_HOME``, or the user's data folder."""
    chosen = os.environ.get("MEMBRANE_HOME")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:
            raise UsageError(f"MEMBRANE_HOME is {chosen!r}: {error}") from None
    from platformdirs import user_data_path

    return user_data_path("membrane", appauthor=False)


def models_folder() -> Path:
    """Return the folder of fetched models."""
    return home() / "models"


def settings_file() -> Path:
    """Return the file that settings are read from."""
    return home() / "settings.toml"


def calibration_file() -> Path:
    """Return the file of the user's own calibration, which `membrane calibrate` writes."""
    return home() / "calibration.toml"


@dataclass(frozen=True)
class Settings:
    """What was chosen.

    Parameters
    ----------
    database : Path or None
        The voiceprint database; by default ``voiceprints.joblib`` in the home folder.
    encoder, recognizer : str
        Names of the engines. Who is enrolled already is judged with the encoder they were enrolled
        with.
    model, scorer : Path or None
        Files for a recognizer that takes its own (DeepSpeech).
    security : {"convenient", "balanced", "strict"}
        False match rate of 1 %, 0.1 % or 0.01 %; strict asks for more digits and a better match
        of the words too.
    normalise : {"", "none", "centre", "as-norm"}
        What is done to a similarity in the light of strangers' voices; empty for what the
        calibration was fitted with.
    metric : {"cosine", "euclidean"}
        How two voices are compared.
    threshold : float or None
        In the metric's own unit: the least cosine, or the greatest distance, that is let in.
        By default the calibrated score decides, at the security level.
    denoise : {"auto", "always", "never"}
        When to remove noise.
    prompt : {"digits", "words"}
        What a fresh prompt is made of.
    attempts : int
        Prompts that a login may try.
    device : str
        Number or part of the name of the microphone; empty for the default one.
    results : Path or None
        A CSV file that every decision is appended to.
    lockout : {"on", "off"}
        Count failed logins, and let somebody wait, or not try again, after too many.
    replay : {"refuse", "allow"}
        What becomes of a recording that was heard before.
    scores : {"hide", "show"}
        Whether `verify` tells how alike a voice is. Whoever logs in could learn from it.
    adapt : {"on", "off"}
        Whether a login far above the threshold renews an ageing voiceprint.
    log : {"on", "off"}
        Whether every decision is kept in the decision log.
    protection : {"optional", "required"}
        Required: a database that is not encrypted is refused, so that nobody can put one in the
        place of an encrypted one.
    """

    database: Path | None = None
    encoder: str = "resemblyzer"
    recognizer: str = "pocketsphinx"
    model: Path | None = None
    scorer: Path | None = None
    security: str = "balanced"
    normalise: str = ""
    metric: str = "cosine"
    threshold: float | None = None
    denoise: Literal["auto", "always", "never"] = "auto"
    prompt: str = "digits"
    attempts: int = 3
    device: str = ""
    results: Path | None = None
    lockout: str = "on"
    replay: str = "refuse"
    scores: str = "hide"
    adapt: str = "off"
    log: str = "on"
    protection: str = "optional"

    @property
    def database_path(self) -> Path:
        """Path of the voiceprint database."""
        return self.database or home() / "voiceprints.joblib"

    @property
    def strict(self) -> bool:
        """Whether the strictest security level was chosen."""
        return self.security == "strict"


def load_settings(**options: Any) -> Settings:
    """Return the settings of the file, the environment (``MEMBRANE_NAME``) and the options.

    Parameters
    ----------
    **options
        Fields of `Settings`; ``None`` means not given.

    Raises
    ------
    UsageError
        If the file is damaged, or a name or a value is not one that exists.
    """
    values: dict[str, Any] = {}
    known = {field.name: field for field in fields(Settings)}
    environment = {name: os.environ.get(f"MEMBRANE_{name.upper()}") for name in known}
    for source, given in (
        (str(settings_file()), _from_file(settings_file())),
        ("the environment", {name: value for name, value in environment.items() if value}),
        ("an option", {name: value for name, value in options.items() if value is not None}),
    ):
        for name, value in given.items():
            if name not in known:
                raise UsageError(
                    f"{source} sets {name!r:.60}, which does not exist: "
                    f"choose from {', '.join(known)}"
                )
            values[name] = _converted(known[name], value, source)
        _check_threshold(values, given, source)
    settings = Settings(**values)
    if (settings.model or settings.scorer) and settings.recognizer != ENGINE_OF_FILES:
        raise UsageError(
            f"a model or a scorer of one's own is for {ENGINE_OF_FILES}, not for "
            f"{settings.recognizer}: choose that recognizer, or leave them out"
        )
    return settings


def _check_threshold(values: dict[str, Any], given: dict[str, Any], source: str) -> None:
    """Refuse a threshold that is no number of the metric, or that was given in another's."""
    threshold, metric = values.get("threshold"), values.get("metric", Settings.metric)
    if threshold is None:
        return
    if "metric" in given and "threshold" not in given:
        # A cosine of 0.85 read as a distance would let in strangers.
        raise UsageError(
            f"{source} sets metric and not the threshold, which is {threshold} already: set both"
        )
    least, most = THRESHOLDS[metric]
    if not least <= threshold <= most:
        raise UsageError(
            f"the threshold {threshold} is no {MEASURES[metric]}: use {least:g} to {most:g}"
        )


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"the settings in {path} cannot be read: {error}") from None


def _converted(field: Field[Any], value: Any, source: str) -> Any:
    """Return the value in the field's type, or refuse it."""
    kind = str(field.type)
    try:
        if kind.startswith("float"):
            return _finite(str(value))
        if kind == "int":
            return _attempts(str(value))
        if not isinstance(value, str | Path):
            raise ValueError("it must be text in quotes")
        if kind.startswith("Path"):
            return Path(value).expanduser()
        if value not in CHOICES.get(field.name, (value,)):
            raise ValueError(f"choose from {', '.join(CHOICES[field.name])}")
    except (RuntimeError, ValueError) as error:  # RuntimeError: nobody's home is meant by ~name
        raise UsageError(f"{source} sets {field.name} to {value!r:.60}: {error}") from None
    return value


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("it must be a number") from None
    if not abs(number) < float("inf"):
        raise ValueError("it must be a finite number")
    return number


def _attempts(text: str) -> int:
    # Not int(value): true and 2.5 are no numbers of attempts.
    if not text.isdecimal() or not 1 <= int(text) <= MOST_ATTEMPTS:
        raise ValueError(f"it must be a whole number, 1 to {MOST_ATTEMPTS}")
    return int(text)
