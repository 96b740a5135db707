"""A second encoder, to lie beside the shipped one: the same voices, turned.

Its calibration says `WORTH` more of every similarity, so that it shows whose calibration was used,
and its stretches need less.
"""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
import tomli_w

from membrane.models import registry as models
from membrane.voice import calibration, normalisation, thresholds
from membrane.voice.calibration import load_calibration
from membrane.voice.encoder import ENCODERS, load_encoder
from membrane.voice.encoders.resemblyzer import DVectorEncoder
from membrane.voice.normalisation import Cohort, load_cohort, save_cohort

NAME = "turned"
WORTH = 0.5
STRETCH = 0.6
LEFT_OUT = ("__pycache__",)
CACHES = (
    load_encoder,
    models.every_model,
    thresholds._chosen,
    normalisation.load_cohort,
    calibration._shipped,
)


@cache
def rotation():
    """Return a rotation of vectors, shape (256, 256)."""
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(256, 256)))
    return turned.astype(np.float32)


class TurnedEncoder(DVectorEncoder):
    """The shipped encoder, its vectors turned, which keeps their similarities."""

    name = NAME

    @property
    def session(self):
        return _network().session

    def embed(self, samples):
        heard = super().embed(samples)
        return replace(
            heard, vector=heard.vector @ rotation(), partials=heard.partials @ rotation()
        )


@cache
def _network():
    return DVectorEncoder()


@contextmanager
def beside(monkeypatch, folder):
    """Ship the second encoder, too: in a copy of the weights in `folder`."""
    weights = folder / "weights"
    shutil.copytree(models.shipped_folder(), weights, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shipped = load_calibration("resemblyzer")
    line = replace(shipped.line, intercept=shipped.line.intercept + WORTH)
    replace(shipped, encoder=NAME, line=line).save(weights / f"{NAME}.calibration.toml")
    turned = Cohort.of(load_cohort("resemblyzer").vectors @ rotation())
    save_cohort(turned, weights / f"{NAME}.cohort.npz")
    shutil.copy(weights / "resemblyzer.onnx", weights / f"{NAME}.onnx")
    model = models.find("resemblyzer")
    with (weights / "registry.toml").open("a", encoding="utf-8") as file:
        entry = {**vars(model), "name": NAME, "file": f"{NAME}.onnx"}
        file.write("\n[[model]]\n" + tomli_w.dumps(entry))
    with (weights / "thresholds.toml").open("a", encoding="utf-8") as file:
        for part, least in (("stretch", STRETCH), ("enrolment", 0.73)):
            file.write(f"\n[{NAME}.{part}]\nsimilarity = {least}\n")
    monkeypatch.setattr(models, "shipped_folder", lambda: weights)
    monkeypatch.setitem(ENCODERS, NAME, (__name__, "TurnedEncoder"))
    forget()
    yield weights
    forget()


def forget():
    """Forget what was read of the shipped files."""
    for kept in CACHES:
        kept.cache_clear()
