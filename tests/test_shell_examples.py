"""The scripts of docs/shell.md, run as they stand there, with a stand-in for Membrane."""

import re
import subprocess
from pathlib import Path

import pytest

from membrane import errors
from membrane.__main__ import DEFECT, INTERRUPTED

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "shell.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
WRONG = [block for block in BLOCKS if block.startswith("# wrong")]
ASK_ONCE, EVERY_CODE = (block for block in BLOCKS if block not in WRONG)

LET_IN = "exit 0"
ENDINGS = {
    **{f"exit {code}": f"exit {code}" for code in (*range(1, 8), 70, 126, 127, 130)},
    "killed": "kill -KILL $$",
    "crashed": "kill -SEGV $$",
    "told to end": "kill -TERM $$",
    "hangs": "exec sleep 60",
    "yes after its time": "trap 'exit 0' TERM; while :; do sleep 0.1; done",
    "crashed after a yes": "echo Accepted. The voice is yours.; kill -SEGV $$",
    "missing": None,
}


@pytest.fixture
def run_example(tmp_path):
    """Run a script where `membrane` is what is given, and 30 seconds are one."""

    def run(script, membrane):
        if membrane is not None:
            (tmp_path / "membrane").write_text(f"#!/bin/sh\n{membrane}\n")
            (tmp_path / "membrane").chmod(0o700)
        return subprocess.run(
            ["sh", "-c", script.replace("-k 5 30", "-k 5 1")],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "USER": "ada", "LC_ALL": "C"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_only_0_is_welcome(run_example):
    ended = run_example(ASK_ONCE, LET_IN)
    assert (ended.returncode, ended.stdout) == (0, "Welcome, ada.\n")


@pytest.mark.parametrize("script", [ASK_ONCE, EVERY_CODE], ids=["ask once", "every code"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_other_ending_is_a_no(run_example, script, ending):
    ended = run_example(script, ENDINGS[ending])
    assert ended.returncode == 1
    assert "Welcome" not in ended.stdout
    assert "let in\n" not in ended.stdout.replace("not let in\n", "")


def test_every_exit_code_has_a_line_of_its_own(run_example):
    known = {0, 1, DEFECT, INTERRUPTED, 124}
    known |= {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.MembraneError)
    }
    assert {int(code) for code in re.findall(r"^(\d+)\)", EVERY_CODE, re.MULTILINE)} == known
    told = [run_example(EVERY_CODE, f"exit {code}").stdout for code in sorted(known)]
    assert len(set(told)) == len(known)
    assert told[0] == "let in\n"


@pytest.mark.parametrize("script", WRONG, ids=lambda script: script.splitlines()[0])
def test_what_the_guide_calls_wrong_does_let_somebody_in(run_example, script):
    welcome = {
        ending: "Welcome" in run_example(script, ENDINGS[ending]).stdout
        for ending in ("exit 3", "killed", "crashed after a yes", "missing")
    }
    assert any(welcome.values())
