from functools import cache

import pytest

from membrane.login.membrane import Membrane
from membrane.settings import Settings
from tests.conftest import UNGUARDED


@pytest.fixture(scope="session")
def phrases(examiner, utterance_of):
    """Return somebody's phrase as it is examined for an enrolment, once: ``phrases("ada", 2)``."""

    @cache
    def examine(person, number=0, purpose="enrol"):
        return examiner.examine(utterance_of(person, purpose, number), enrolling=True)

    return examine


@pytest.fixture(scope="session")
def three_phrases(phrases):
    return lambda person: [phrases(person, number) for number in range(3)]


@pytest.fixture
def empty(tmp_path):
    """Return a Membrane that knows nobody, and neither counts nor remembers logins."""
    settings = Settings(database=tmp_path / "voiceprints.joblib", **UNGUARDED)
    return Membrane(settings, processes=0)
