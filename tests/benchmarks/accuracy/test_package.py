import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.accuracy import package
from membrane.errors import EngineUnavailable

ANSWERS = """
import sys
from pathlib import Path
import numpy as np
for line in sys.stdin:
    path = Path(line.rstrip())
    with np.load(path) as sounds:
        vectors = [sounds[name][:2] for name in sounds.files]
    np.save(path.with_suffix(".npy"), np.stack(vectors))
    print(path, flush=True)
"""


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Let some text stand for the script that runs in the package's environment."""

    def standing_for(script):
        path = tmp_path / "reference.py"
        path.write_text(script)
        monkeypatch.setattr(package, "SCRIPT", path)
        return Path(sys.executable)

    package.started.cache_clear()
    yield standing_for
    with package.started(sys.executable) as process:
        process.stdin.close()
    package.started.cache_clear()


def test_a_voiceprint_is_the_mean_of_what_the_package_hears_in_the_enrolment(python):
    first = [np.array([1, 0], np.float32), np.array([0, 1], np.float32)]
    second = [np.array([1, 0], np.float32)] * 2
    probes = [np.array([1, 1], np.float32), np.array([2, 0], np.float32)]
    task = SimpleNamespace(corpus=SimpleNamespace(enrolments=[first, second]), probes=probes)
    scores = package.Package(python(ANSWERS)).scores(task)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(scores, [[1, half], [half, 1]], atol=1e-6)


def test_a_package_that_does_not_run_is_said_in_one_line(python):
    with pytest.raises(EngineUnavailable, match="make parity"):
        package.embedded(str(python("input()")), [np.zeros(3, np.float32)])


def test_a_missing_package_says_how_to_install_it(tmp_path):
    assert package.Package(tmp_path / "python").problem == "not installed: make parity"
