"""The wheel, built from a copy of the source and installed somewhere else."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ("membrane", "weights", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
CODE = ("__pycache__", "*.pyc")


def _run(*command, **options):
    ended = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*CODE))
        else:
            shutil.copy(ROOT / name, folder / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    _run(*pip, "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder / "dist"), str(folder))
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_all_that_the_source_has_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("membrane/")}
    left_out = {path for path in (ROOT / "membrane").rglob("*") if "__pycache__" in path.parts}
    modules = {path for path in (ROOT / "membrane").rglob("*") if path.is_file()} - left_out
    assert {path.relative_to(ROOT).as_posix() for path in modules} <= packed
    shipped = {f"membrane/_weights/{path.name}" for path in (ROOT / "weights").glob("*.*")}
    assert shipped <= packed


def test_somebody_enrols_and_logs_in_with_the_installed_wheel(wheel, tmp_path, recording):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    _run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
        *("--no-deps", "--target", str(site), str(wheel)),
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "MEMBRANE_HOME": str(tmp_path / "home")}

    def membrane(*arguments):
        command = (sys.executable, "-P", "-m", "membrane", *map(str, arguments))
        return _run(*command, cwd=elsewhere, env=environment)

    where = "import membrane.models.registry as one; print(one.__file__, one.shipped_folder())"
    found = _run(sys.executable, "-P", "-c", where, cwd=elsewhere, env=environment)
    assert all(path.startswith(str(site)) for path in found.split())
    phrases = [part for number in range(3) for part in ("-f", recording("ada", "enrol", number))]
    membrane("enroll", "-u", "ada", "--consent", *phrases)
    decision = json.loads(
        membrane("verify", "-u", "ada", "-f", recording("ada", "login"), "--json")
    )
    assert decision["accepted"]
