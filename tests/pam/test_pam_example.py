"""The example of docs/pam.md, run by the PAM of this machine with services of the test's own."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.pam.conftest import EXAMPLE, PASSWORD, SITTING_HERE, configure, conversation, program

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = "Remote=yes\nActive=yes\nSeat="
GUIDE = ROOT / "docs" / "pam.md"


def refused_unheard(installed, login):
    """Whether somebody was refused, with a reason, before anything was recorded."""
    reason = login.stdout.splitlines()[-1]
    return (
        login.returncode == 1
        and reason.startswith("Voice login refused: ")
        and not installed.calls.exists()
    )


# ---- The voice and another factor


def test_voice_and_password_let_in(log_in, installed):
    let_in, _ = log_in()
    assert let_in
    assert installed.calls.read_text() == "verify --username ada --attempts 1\n"
    assert "accepted" in installed.log.read_text()


def test_password_without_the_voice_is_refused(log_in, installed):
    program(installed.membrane, "exit 1")
    assert not log_in()[0]


def test_voice_without_the_password_is_refused(log_in, installed):
    assert not log_in(password="guessed")[0]
    assert installed.calls.exists()


def test_password_is_that_of_the_machine(log_in, service):
    service(password=False)
    assert not log_in("nobody-of-this-machine")[0]


def test_no_other_factor_makes_up_for_the_voice(log_in, installed, service):
    program(installed.membrane, "exit 1")
    service(after="auth sufficient pam_permit.so")
    assert not log_in()[0]


def test_sufficient_line_before_the_voice_would_jump_over_it_as_the_guide_warns(
    log_in, installed, service
):
    program(installed.membrane, "exit 1")
    service(before="auth sufficient pam_permit.so")
    assert log_in()[0]
    assert "`sufficient`" in GUIDE.read_text()


def test_what_membrane_asks_reaches_the_person_while_it_waits(services, service, installed):
    program(
        installed.membrane,
        'echo "Please say:  4 7 1" >&2',
        'until [ -e "$HOME/said" ]; do sleep 0.05; done',
    )
    with conversation(services, "membrane", password=PASSWORD) as talking:
        assert talking.stdout.readline() == "Please say:  4 7 1\n"
        assert talking.poll() is None
        (installed.home / "said").touch()
        talking.communicate(timeout=30)
    assert talking.returncode == 0


# ---- Exit codes are the contract


@pytest.mark.parametrize("code", [*range(1, 9), 70, 124, 126, 127, 130, 137, 139, 143, 255])
def test_every_exit_code_but_0_is_refused(asked, installed, code):
    program(installed.membrane, f"exit {code}")
    ended = asked()
    assert ended.returncode == 1
    (line,) = ended.stdout.splitlines()
    assert line.startswith("Voice login refused: ")
    assert ("see above" in line) is (code == 1)


@pytest.mark.parametrize("signal", ["KILL", "SEGV", "TERM", "INT", "HUP", "ABRT"])
def test_membrane_that_is_killed_is_refused(log_in, installed, signal):
    program(installed.membrane, "echo Accepted", f"kill -{signal} $$", "sleep 5")
    let_in, told = log_in()
    assert not let_in
    assert told[-2].startswith("Voice login refused: "), told


def test_membrane_that_hangs_is_ended_and_refused(asked, installed):
    configure(installed, seconds=1)
    program(installed.membrane, "exec sleep 60")
    ended = asked()
    assert ended.returncode == 1
    assert "no answer after 1 seconds" in ended.stdout


def test_membrane_that_says_yes_only_when_its_time_is_over_is_refused(asked, installed):
    configure(installed, seconds=1)
    program(installed.membrane, "trap 'exit 0' TERM", "while :; do sleep 0.1; done")
    assert asked().returncode == 1


@pytest.mark.parametrize("signal", ["KILL", "TERM", "SEGV"])
def test_script_that_is_killed_is_refused(log_in, installed, signal):
    program(installed.membrane, f"kill -{signal} $(cut -d ' ' -f 4 /proc/$PPID/stat)")
    assert not log_in()[0]


@pytest.mark.parametrize("missing", ["script", "config", "membrane", "home"])
def test_nobody_is_let_in_where_something_is_missing(log_in, installed, missing):
    path = getattr(installed, missing)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not log_in()[0]


def test_script_that_was_not_written_to_its_end_lets_nobody_in(asked, installed):
    lines = installed.script.read_text().splitlines(keepends=True)
    for length in range(2, len(lines)):
        installed.script.write_text("".join(lines[:length]))
        assert asked().returncode != 0, f"the first {length} lines"
    installed.script.write_text("".join(lines))
    assert asked().returncode == 0


# ---- Only for whoever sits here


@pytest.mark.parametrize(
    "said",
    [
        {"PAM_RHOST": "203.0.113.7"},
        {"PAM_SERVICE": "sshd"},
        {"PAM_SERVICE": "openssh"},
        {"SSH_CONNECTION": "203.0.113.7 4711 192.0.2.1 22"},
        {"SSH_CLIENT": "203.0.113.7 4711 22"},
        {"SSH_TTY": "/dev/pts/3"},
        {"PAM_TYPE": "account"},
        {"PAM_TYPE": "password"},
        {"PAM_TYPE": "open_session"},
        {"PAM_TYPE": ""},
        {"PAM_SERVICE": ""},
        {"PAM_USER": ""},
        {"PAM_USER": "-h"},
        {"PAM_USER": "--help"},
        {"PAM_USER": "ada\nboris"},
        {"PAM_USER": "ada; true"},
        {"PAM_USER": "../ada"},
        {"PAM_USER": "*"},
    ],
    ids=lambda said: " ".join(f"{name}={value!r}" for name, value in said.items()),
)
def test_login_that_is_none_at_this_machine_is_refused_unheard(installed, asked, said):
    assert refused_unheard(installed, asked(**said))


def test_login_from_another_machine_is_refused_through_pam(log_in, installed):
    assert not log_in(rhost="203.0.113.7")[0]
    assert not log_in(SSH_CONNECTION="203.0.113.7 4711 192.0.2.1 22")[0]
    assert not installed.calls.exists()


@pytest.mark.parametrize(
    "session",
    [
        ELSEWHERE,
        "Remote=no\nActive=no\nSeat=seat0",
        "Remote=no\nActive=yes\nSeat=",
        "Remote=no\nActive=yes\nSeat=seat1",
        "Remote=no\nActive=yes",
        "Remote=nonsense\nActive=yes\nSeat=seat0",
    ],
)
def test_session_that_is_elsewhere_or_not_shown_is_refused_unheard(installed, asked, session):
    program(installed.bin / "loginctl", f"printf '{session}\\n'")
    assert refused_unheard(installed, asked(PAM_TTY="tty1"))


def test_nobody_chooses_the_session_that_is_asked_about(installed, asked):
    program(
        installed.bin / "loginctl",
        '[ -z "${XDG_SESSION_ID:-}" ] || exit 1',
        f"printf '{SITTING_HERE}\\n'",
    )
    assert asked(XDG_SESSION_ID="7").returncode == 0


@pytest.mark.parametrize(
    ("terminal", "code"),
    [("tty1", 0), ("/dev/tty63", 0), ("pts/1", 1), ("ttyS0", 1), (":0", 1), ("", 1)],
)
def test_without_a_session_only_a_console_of_the_machine_will_do(installed, asked, terminal, code):
    program(installed.bin / "loginctl", "exit 1")
    assert asked(PAM_TTY=terminal).returncode == code


# ---- What decides belongs to whoever decides


@pytest.mark.parametrize("what", ["config", "membrane", "home"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_may_write_is_not_trusted(installed, asked, what, mode):
    path = getattr(installed, what)
    path.chmod(path.stat().st_mode | mode)
    assert refused_unheard(installed, asked())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["config", "membrane", "home"])
def test_what_belongs_to_somebody_else_is_not_trusted(installed, asked, what):
    os.chown(getattr(installed, what), 12345, 12345)
    assert refused_unheard(installed, asked())


@pytest.mark.parametrize(
    "line", ["seconds=0", "seconds=", "seconds=1e9", "seconds=-1", "volume=11"]
)
def test_setting_that_means_nothing_lets_nobody_in(installed, asked, line):
    configure(installed, line)
    assert refused_unheard(installed, asked())


def test_settings_are_read_and_not_run(installed, asked, tmp_path):
    for line in (f"sound=$(touch {tmp_path}/run)", f"home=`touch {tmp_path}/run`", "exit 0"):
        configure(installed, line)
        assert refused_unheard(installed, asked())
    assert not (tmp_path / "run").exists()


def test_nothing_of_the_callers_environment_reaches_membrane(installed, asked):
    configure(installed, "sound=XDG_RUNTIME_DIR=/run/user/7 PULSE_SERVER=unix:/run/user/7/native")
    told = asked(MEMBRANE_LOCKOUT="off", PYTHONPATH="/tmp", LD_PRELOAD="", ENV="/tmp/x").stdout
    names = {line.split("=")[0] for line in told.splitlines()}
    ours = {"PATH", "HOME", "MEMBRANE_HOME", "LC_ALL", "XDG_RUNTIME_DIR", "PULSE_SERVER"}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == ours


def test_key_of_the_database_reaches_membrane_and_no_list_of_processes(installed, asked, tmp_path):
    key = tmp_path / "key"
    key.write_text("cafe" * 16 + "\n")
    key.chmod(0o400)
    configure(installed, f"key={key}")
    program(installed.membrane, "env", "tr '\\0' ' ' </proc/$PPID/cmdline", "exit 0")
    told = asked()
    assert told.returncode == 0
    assert told.stdout.count("cafe" * 16) == told.stdout.count("MEMBRANE_KEY=" + "cafe" * 16) == 1
    assert "--username ada" in told.stdout


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o420])
def test_key_that_others_may_read_or_write_lets_nobody_in(installed, asked, tmp_path, mode):
    key = tmp_path / "key"
    key.write_text("cafe" * 16)
    key.chmod(mode)
    configure(installed, f"key={key}")
    assert refused_unheard(installed, asked())
    configure(installed, f"key={tmp_path}/missing")
    assert refused_unheard(installed, asked())


def test_record_tells_who_was_refused_where_and_why(installed, asked):
    asked(PAM_RHOST="203.0.113.7", PAM_SERVICE="login")
    (line,) = installed.log.read_text().splitlines()
    assert line == "-p auth.notice -t membrane-pam -- login, ada: not from another machine"


def test_name_that_could_fake_a_line_of_the_record_is_left_out(installed, asked):
    asked(PAM_USER="ada\nboris: accepted")
    (line,) = installed.log.read_text().splitlines()
    assert line.endswith(" -- login, : this is no name that can be asked for")


def test_nothing_but_a_record_is_lost_without_a_log(installed, asked):
    program(installed.bin / "logger", "exit 1")
    assert asked().returncode == 0
    program(installed.membrane, "exit 1")
    assert asked().returncode == 1


# ---- The guide


def test_guide_shows_the_files_as_they_are():
    blocks = re.findall(r"```\w*\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for name in ("membrane", "pam.conf"):
        assert any(block.strip() == (EXAMPLE / name).read_text().strip() for block in blocks), name


# ---- A true login


@pytest.fixture
def true_membrane(installed, enrolled, virtual_microphone):
    """Install this Membrane, which hears the virtual microphone and knows ada, boris and clara."""
    for file in enrolled.iterdir():
        shutil.copy(file, installed.home)
    shutil.copy(virtual_microphone.folder / ".asoundrc", installed.home)
    program(installed.membrane, f'PYTHONPATH="{ROOT}" exec {sys.executable} -m membrane "$@"')
    runtime = virtual_microphone.environment["XDG_RUNTIME_DIR"]
    configure(installed, f"sound=XDG_RUNTIME_DIR={runtime} OMP_NUM_THREADS=1", seconds=60)


@pytest.mark.microphone
@pytest.mark.parametrize(("speaker", "let_in"), [("ada", True), ("boris", False)])
def test_login_by_voice_through_pam(true_membrane, services, service, speak, speaker, let_in):
    with conversation(services, "membrane", "ada", password=PASSWORD) as talking:
        told = []
        for line in talking.stdout:
            told.append(line)
            if asked := re.match(r"Please say:\s+((?:\d )*\d)$", line):
                speak(speaker, asked.group(1))
    assert (told[-1] == "0\n") is let_in, told
    assert any(line.startswith("Accepted. " if let_in else "Refused. ") for line in told), told
