import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "pam"
CONVERSATION = Path(__file__).parent / "conversation.py"
SITTING_HERE = "Remote=no\nActive=yes\nSeat=seat0"
PASSWORD = "open sesame"


def program(path, *lines):
    """Write a shell script that can be run; what is there is replaced."""
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o700)
    return path


@pytest.fixture
def installed(tmp_path):
    """The example as it is installed, in a folder of the test, with a `membrane` that lets in.

    Besides it has a `loginctl` that says who sits here, and a `logger` that writes into a file.
    """
    home, bin_ = tmp_path / "home", tmp_path / "bin"
    home.mkdir(mode=0o700)
    bin_.mkdir(mode=0o700)
    place = SimpleNamespace(
        home=home,
        bin=bin_,
        script=Path(shutil.copy(EXAMPLE / "membrane-pam", tmp_path)),
        config=tmp_path / "pam.conf",
        membrane=program(bin_ / "membrane", 'echo "$@" >>"$HOME/calls"', "env", "exit 0"),
        calls=home / "calls",
        log=tmp_path / "log",
    )
    program(bin_ / "loginctl", f"printf '{SITTING_HERE}\\n'")
    program(bin_ / "logger", f'echo "$@" >>"{place.log}"')
    program(tmp_path / "password", 'IFS= read -r told; [ "$told" = "open sesame" ]')
    configure(place)
    return place


def configure(place, *lines, seconds=10):
    """Write the settings of an installed example."""
    settings = (
        f"program={place.membrane}",
        f"home={place.home}",
        f"seconds={seconds}",
        f"path={place.bin}:/usr/bin:/bin",
        *lines,
    )
    place.config.write_text("\n".join(settings) + "\n")
    place.config.chmod(0o600)


@pytest.fixture
def asked(installed):
    """Run the script as pam_exec does, with nothing in its environment but what PAM says."""

    def run(**said):
        says = {"PAM_TYPE": "auth", "PAM_USER": "ada", "PAM_SERVICE": "login", **said}
        return subprocess.run(
            [installed.script, installed.config],
            env=says,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def services(tmp_path):
    """The folder of a PAM of the test's own; where there is none, only CI insists on it."""
    folder = tmp_path / "pam.d"
    folder.mkdir()
    problem = _missing(folder)
    if problem and os.environ.get("CI"):
        pytest.fail(f"CI must test PAM, but {problem}")
    if problem:
        pytest.skip(problem)
    return folder


def _missing(folder):
    try:
        ctypes.CDLL("libpam.so.0").pam_start_confdir  # noqa: B018 - looks it up
    except (OSError, AttributeError):
        return "there is no Linux-PAM 1.4 or newer"
    (folder / "probe").write_text("auth required pam_exec.so /bin/true\n")
    with conversation(folder, "probe") as probe:
        probe.communicate(timeout=60)
    if probe.returncode != 0:
        return "PAM has no pam_exec.so"
    return ""


def conversation(folder, service, user="ada", **options):
    """Begin a login at a PAM service; its last line is PAM's result, 0 to be let in."""
    given = [f"{name}={value}" for name, value in options.items()]
    return subprocess.Popen(
        [sys.executable, CONVERSATION, folder, service, user, *given],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def service(services, installed):
    """Install the example's service, with a password of the test's for that of the machine.

    Further lines go before or after those that ask for a factor.
    """

    def install(*, before="", after="", password=True):
        text = (EXAMPLE / "membrane").read_text()
        text = text.replace("/usr/local/libexec/membrane-pam", str(installed.script))
        text = text.replace("/etc/membrane/pam.conf", str(installed.config))
        if password:
            checker = f"pam_exec.so quiet expose_authtok {installed.script.parent / 'password'}"
            text = text.replace("auth     required  pam_unix.so", f"auth required {checker}")
        (services / "membrane").write_text(f"{before}\n{text}\n{after}\n")

    install()
    return install


@pytest.fixture
def log_in(services, service):
    """Log in at the example's service: ``log_in(tty="tty1")`` returns whether, and what was said.

    The second factor is right unless another password is given.
    """

    def run(user="ada", **options):
        given = {"password": PASSWORD, **options}
        with conversation(services, "membrane", user, **given) as talking:
            told, _ = talking.communicate(timeout=60)
        *lines, result = told.splitlines()
        assert talking.returncode == (result != "0"), told
        return result == "0", lines

    return run
