import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from membrane.store.joblib_store import JoblibStore
from membrane.store.voiceprint import EnrolledUtterance, Voiceprint

WRITER = Path(__file__).with_name("writer.py")
MAKERS = runpy.run_path(str(WRITER))


@pytest.fixture
def writer() -> Path:
    return WRITER


@pytest.fixture
def person() -> Callable[..., Voiceprint]:
    return MAKERS["person"]


@pytest.fixture
def utterance() -> Callable[..., EnrolledUtterance]:
    return MAKERS["utterance"]


@pytest.fixture
def store(tmp_path) -> JoblibStore:
    return JoblibStore(tmp_path / "data" / "voiceprints.joblib")
