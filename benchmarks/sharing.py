"""Whether a Membrane that threads and processes share answers as one that nobody shares.

    python -m benchmarks.sharing [--share 1.0] [--only threads,forks,…] [--synthetic] [--json]

One person of the Free Spoken Digit Dataset (or one of the test suite's synthetic voices) is
enrolled. Their logins are judged once alone, with the right words and with other words, and then by
everything that may share a Membrane: threads, children of a fork before and after the engines are
loaded, `multiprocessing`, a server that forks its workers and replaces one that was killed, with
the processes that check words being killed, and with temporary files being removed. An answer is
the decision, the score of the words and the similarity of the voice; all must be equal.

    python -m benchmarks.sharing --memory

prints the address space that the longest check of words takes in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.honest_users import ENROLMENT_TAKES, LOGIN_TAKES, strings_of
from membrane.audio.files import read_utterance
from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import MembraneError
from membrane.login.membrane import Membrane
from membrane.phrase.recognizers.word_processes import WordProcesses
from membrane.settings import EVALUATING, Settings

SPEAKER, PERSON = "jackson", "ada"
RECORDINGS = Path(__file__).resolve().parents[1] / "tests" / "recordings"
LOGINS = 10
THREADS, EACH = 8, 50
CHILDREN, CHECKS = 4, 240
KILL_EVERY_S = 4.0

Answer = tuple[bool, float, float]


@dataclass(frozen=True)
class Case:
    """One login: a recording, the words asked for, and the answer of an unshared Membrane."""

    utterance: Utterance
    asked: str
    right: bool
    alone: Answer = (False, 0.0, 0.0)


@dataclass
class Tally:
    """What came of many logins."""

    checks: int = 0
    wrong_words_accepted: int = 0
    other_answers: int = 0
    errors: int = 0

    def add(self, other: Tally) -> None:
        """Count another tally in."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def answer(membrane: Membrane, case: Case) -> Answer:
    """Return what a Membrane says of a login."""
    decision = membrane.verify(PERSON, case.utterance, expected=case.asked)
    assert decision.words is not None
    assert decision.voice is not None
    return decision.accepted, decision.words.score, decision.voice.similarity


def judged(membrane: Membrane, cases: Sequence[Case]) -> Tally:
    """Return what came of some logins."""
    tally = Tally()
    for case in cases:
        tally.checks += 1
        try:
            found = answer(membrane, case)
        except (MembraneError, OSError, LookupError, ValueError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            tally.errors += 1
            continue
        tally.wrong_words_accepted += found[0] and not case.right
        tally.other_answers += found != case.alone
    return tally


# ---- Who shares a Membrane


def by_threads(membrane: Membrane, cases: Sequence[Case], threads: int = THREADS) -> Tally:
    """Judge the cases, dealt out to threads."""
    total = Tally()
    with ThreadPoolExecutor(threads) as pool:
        for tally in pool.map(lambda at: judged(membrane, cases[at::threads]), range(threads)):
            total.add(tally)
    return total


def by_forks(membrane: Membrane, cases: Sequence[Case]) -> Tally:
    """Judge the cases in each of several children of this process, and then in this one."""
    children = [_forked(membrane, cases) for _ in range(CHILDREN)]
    total = judged(membrane, cases[:4])
    for child in children:
        total.add(_result_of(child, cases))
    total.add(judged(membrane, cases[:4]))
    return total


def by_multiprocessing(membrane: Membrane, cases: Sequence[Case], method: str) -> Tally:
    """Judge the cases in the processes of a pool."""
    total = Tally()
    with multiprocessing.get_context(method).Pool(2, _receive, [membrane]) as pool:
        for tally in pool.map(_judged_there, [cases[at::8] for at in range(8)]):
            total.add(tally)
    return total


def by_server(membrane: Membrane, cases: Sequence[Case]) -> Tally:
    """Load everything, fork workers that have threads, kill one of them, and replace it."""
    membrane.preload()
    killed, *others = [_forked(membrane, cases, threads=4) for _ in range(2)]
    time.sleep(1)
    os.kill(killed[0], signal.SIGKILL)
    os.waitpid(killed[0], 0)
    others.append(_forked(membrane, cases, threads=4))
    total = Tally()
    for child in others:
        total.add(_result_of(child, cases))
    total.add(judged(membrane, cases[:4]))
    return total


_received: list[Membrane] = []


def _receive(membrane: Membrane) -> None:
    _received.append(membrane)


def _judged_there(cases: Sequence[Case]) -> Tally:
    return judged(_received[0], cases)


def _forked(membrane: Membrane, cases: Sequence[Case], threads: int = 1) -> tuple[int, int]:
    """Return a child that judges the cases, and where it writes what came of them."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    tally = judged(membrane, cases) if threads == 1 else by_threads(membrane, cases, threads)
    os.write(writing, json.dumps(asdict(tally)).encode())
    sys.exit()  # not os._exit: what the child removes at its end must be its own


def _result_of(child: tuple[int, int], cases: Sequence[Case]) -> Tally:
    pid, reading = child
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Tally(**json.loads(told)) if told and code == 0 else Tally(errors=len(cases))


# ---- What happens meanwhile


@contextmanager
def repeatedly(harm: Callable[[], None], every_s: float) -> Iterator[None]:
    """Do harm every few seconds while it lasts."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(every_s):
            harm()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def kill_a_process(membrane: Membrane) -> None:
    """Kill one of the processes that check words."""
    for worker in list(membrane.words.recognizer._workers)[:1]:  # type: ignore[attr-defined]
        os.kill(worker.process.pid, signal.SIGKILL)


def remove_temporary_files() -> None:
    """Remove what lies in the folder of temporary files, as systemd-tmpfiles does."""
    for path in Path(tempfile.gettempdir()).iterdir():
        shutil.rmtree(path, ignore_errors=True)


# ---- The whole


def scenarios(share: float) -> dict[str, Callable[[Membrane, Sequence[Case]], Tally]]:
    """Return what is tried, by its name."""
    each = max(1, round(EACH * share)) * THREADS
    checks = max(2, round(CHECKS * share))

    def with_kills(membrane: Membrane, cases: Sequence[Case]) -> Tally:
        membrane.preload()
        with repeatedly(lambda: kill_a_process(membrane), KILL_EVERY_S):
            return by_threads(membrane, repeated(cases, checks), 2)

    def without_folder(membrane: Membrane, cases: Sequence[Case]) -> Tally:
        total = Tally()
        for case in repeated(cases, checks // 4):
            remove_temporary_files()
            total.add(judged(membrane, [case]))
        return total

    def loaded(membrane: Membrane, cases: Sequence[Case]) -> Tally:
        membrane.preload()
        return by_forks(membrane, repeated(cases, checks))

    return {
        "threads": lambda membrane, cases: by_threads(membrane, repeated(cases, each)),
        "forks before loading": lambda membrane, cases: by_forks(membrane, repeated(cases, checks)),
        "forks after loading": loaded,
        "multiprocessing fork": lambda membrane, cases: by_multiprocessing(
            membrane, repeated(cases, checks), "fork"
        ),
        "multiprocessing spawn": lambda membrane, cases: by_multiprocessing(
            membrane, repeated(cases, checks), "spawn"
        ),
        "server": lambda membrane, cases: by_server(membrane, repeated(cases, checks)),
        "processes killed": with_kills,
        "temporary files removed": without_folder,
    }


def repeated(cases: Sequence[Case], count: int) -> list[Case]:
    """Return so many cases, each as often as the others."""
    return [cases[number % len(cases)] for number in range(count)]


def material(*, synthetic: bool) -> tuple[list[Utterance], list[tuple[str, Utterance]]]:
    """Return recordings that enrol, and logins with the words said in them."""
    if synthetic:
        enrolment = sorted((RECORDINGS / PERSON).glob("enrol*.flac"))
        logins = [one for name in ("ada", "bruno") for one in _synthetic_logins(name)]
        return [read_utterance(path) for path in enrolment], logins
    enrolment = [one for _, one in strings_of(SPEAKER, 3, ENROLMENT_TAKES)]
    return enrolment, list(strings_of(SPEAKER, LOGINS, LOGIN_TAKES))


def _synthetic_logins(name: str) -> list[tuple[str, Utterance]]:
    paths = sorted((RECORDINGS / name).glob("login-*.flac"))
    return [("".join(path.stem.split("-")[1:]), read_utterance(path)) for path in paths]


def cases_of(membrane: Membrane, logins: Sequence[tuple[str, Utterance]]) -> list[Case]:
    """Return each login with its own words and with those of the next, judged alone."""
    asked = [said for said, _ in logins]
    pairs = zip(logins, asked[1:] + asked[:1], strict=True)
    cases = [
        case
        for (said, utterance), other in pairs
        for case in (Case(utterance, said, right=True), Case(utterance, other, right=False))
    ]
    return [Case(case.utterance, case.asked, case.right, answer(membrane, case)) for case in cases]


def enrolled(database: Path, enrolment: Sequence[Utterance]) -> Settings:
    """Enrol the person in a database; return the settings that open it."""
    settings = Settings(database=database, **EVALUATING)
    membrane = Membrane(settings, processes=0)
    membrane.enroll(PERSON, [membrane.examine(one, enrolling=True) for one in enrolment])
    return settings


def peak_memory() -> int:
    """Return the address space that the longest check of words takes, bytes."""
    recognizer = WordProcesses(1)
    chance = np.random.default_rng(0)
    speech = chance.normal(0, 0.1, 60 * SAMPLE_RATE).astype(np.float32)
    recognizer.match(speech, " ".join(["umbrella", "dolphin", "pancake", "teapot"] * 5))
    (worker,) = recognizer._workers
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="ascii")
    (kilobytes,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmPeak")]
    return int(kilobytes) * 1024


def tried(chosen: argparse.Namespace) -> dict[str, dict[str, int]]:
    """Return what came of every trial that was asked for."""
    found = {}
    with own_folder() as folder:
        enrolment, logins = material(synthetic=chosen.synthetic)
        settings = enrolled(folder / "voiceprints.joblib", enrolment)
        cases = cases_of(Membrane(settings, processes=0), logins)
        assert all(case.alone[0] == case.right for case in cases), "the cases are not clear"
        for name, trial in scenarios(chosen.share).items():
            if not chosen.only or name.startswith(tuple(chosen.only.split(","))):
                started = time.perf_counter()
                found[name] = asdict(trial(Membrane(settings), cases))
                if not chosen.json:
                    print(name, found[name], f"{time.perf_counter() - started:.0f} s", flush=True)
    return found


@contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder, with one for temporary files in it; a child of a fork leaves it alone."""
    owner, folder = os.getpid(), Path(tempfile.mkdtemp())
    tempfile.tempdir = str(folder / "temporary")
    Path(tempfile.tempdir).mkdir()
    try:
        yield folder
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything; the exit code is 1 if any answer was not the one given alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts")
    parser.add_argument("--only", default="", help="beginnings of names, with commas")
    parser.add_argument("--synthetic", action="store_true", help="use synthetic voices")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.memory:
        print(f"{peak_memory() / 1e6:.0f} MB")
        return 0
    found = tried(chosen)
    if chosen.json:
        print(json.dumps(found))
    bad = sum(
        one[kind]
        for one in found.values()
        for kind in ("wrong_words_accepted", "other_answers", "errors")
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
