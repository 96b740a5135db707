import os

import pytest

from tests.virtual_microphone import VirtualMicrophone, missing_programs


@pytest.fixture(scope="session")
def virtual_microphone():
    """A microphone that hears what the test plays; without PulseAudio only CI insists on it."""
    missing = missing_programs()
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI must test the microphone, but {', '.join(missing)} is not installed")
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed: apt install pulseaudio")
    with VirtualMicrophone() as microphone:
        yield microphone
