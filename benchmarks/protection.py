"""What protecting the database costs, and what a copy that was stolen before is worth.

    python -m benchmarks.protection [--part accuracy|revocation|gallery|verify] [--encoder NAME]

accuracy
    Held-back speakers, voiceprints of three utterances: every similarity and decision as it is, and
    after everything was turned by a projection.
revocation
    The same people's voiceprints and utterances under one key, against the same people under
    another, as a thief would submit them; and through the database itself, before and after
    `renew`. Each pair of keys is drawn anew. All people under one share its rotation, and voices
    have much in common: the interval is that of so many pairs of keys.
gallery
    Galleries of random voices, plain (mapped) and encrypted (decrypted into memory), each in
    fresh processes: size, opening, searching, writing.
verify
    CPU time of `membrane verify` as a whole process, plain and protected in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.accuracy.corpora import CORPORA
from benchmarks.accuracy.systems import Corpus
from benchmarks.gallery import milliseconds, unit_vectors
from membrane.errors import WrongKey
from membrane.evaluation.intervals import clopper_pearson
from membrane.evaluation.metrics import (
    Flags,
    Floats,
    ScoredTrials,
    det_curve,
    equal_error_rate,
    min_detection_cost,
)
from membrane.evaluation.scoring import Comparisons, Voiceprints, compare, score
from membrane.evaluation.voices import Heard, Job, VoiceCache, hear
from membrane.login import protect as protection
from membrane.login.voices import Voices
from membrane.protection import keys
from membrane.protection.keys import new_key
from membrane.protection.sealing import Seal
from membrane.settings import Settings
from membrane.store.columns import Columns
from membrane.store.joblib_store import JoblibStore
from membrane.store.voiceprint import EnrolledUtterance, RecordedQuality, Voiceprint
from membrane.voice.encoder import Embedding
from membrane.voice.judge import Judge
from membrane.voice.projection import Projection, projected_cohort
from membrane.voice.scoring import top

SPOKEN = ("librispeech", "speechocean762", "fsdd-6")
"""Sentences read, sentences of learners, half of them children, and strings of digits."""

KEY_PAIRS = 200
RENEWALS = 50
SIZES = (10_000, 100_000, 1_000_000)
BLOCK = 1000
"""People of whom a large gallery is made by repetition: only its size matters."""

PROCESSES = 5
SEARCHES = 7
ROUNDS = 10
RECORDINGS = Path(__file__).resolve().parents[1] / "tests" / "recordings"


class Spoken(NamedTuple):
    """The trials of a corpus, and the voices that were heard."""

    corpus: Corpus
    voices: Voiceprints
    probes: list[Heard]


def spoken(name: str, encoder: str) -> Spoken:
    """Return everybody of a corpus who is held back, as they enrol and as they log in."""
    corpus = CORPORA[name]()
    trials = corpus.trials
    enrolment = [Job(one, enrolling=True) for who in trials.enrolled for one in who.recordings]
    jobs = [*enrolment, *map(Job, trials.probes)]
    heard = hear(jobs, Settings(encoder=encoder), cache=VoiceCache())
    made = dict(zip(enrolment, heard, strict=False))
    return Spoken(corpus, Voiceprints.of(trials, made, enrolling=True), heard[len(enrolment) :])


def projection() -> Projection:
    """Return the projection of a key and an epoch that nobody used before."""
    return Projection.of(secrets.token_bytes(32), secrets.token_hex(16))


def turned(said: Spoken, enrolled: Projection | None, probes: Projection | None) -> Spoken:
    """Return the same voices in other spaces: those of the database, and those that log in."""
    voices = said.voices
    if enrolled is not None:
        voices = replace(voices, vectors=enrolled.turn(voices.vectors))
    if probes is None:
        return said._replace(voices=voices)
    return Spoken(said.corpus, voices, [_turned(one, probes) for one in said.probes])


def _turned(heard: Heard, space: Projection) -> Heard:
    if heard.embedding is None:
        return heard
    embedding = Embedding(space.turn(heard.embedding.vector), space.turn(heard.embedding.partials))
    return replace(heard, embedding=embedding)


def judged(said: Spoken, judge: Judge) -> tuple[Comparisons, ScoredTrials]:
    """Return what a login would say of every trial."""
    compared = compare(said.corpus.trials, said.voices, said.probes, judge.normalisation)
    return compared, score(
        compared, replace(Voices(Settings(encoder=judge.encoder)).own, judge=judge)
    )


def judge_in(space: Projection | None, encoder: str) -> Judge:
    """Return the default judge of a database that is turned into a space."""
    judge = Judge(encoder)
    if space is None:
        return judge
    return replace(judge, cohort=projected_cohort(judge.strangers, space))


def report_accuracy(said: dict[str, Spoken], encoder: str) -> None:
    """Print what turning all voices changes."""
    print(f"\nEverything turned by one projection, {encoder}, balanced, what can be judged")
    print(
        f"{'corpus':>16} {'trials':>8} {'EER':>15} {'minDCF':>15} "
        f"{'decisions that differ':>22} {'most a similarity moved':>24}"
    )
    for name, one in said.items():
        plain, scored = judged(one, judge_in(None, encoder))
        space = projection()
        after, rescored = judged(turned(one, space, space), judge_in(space, encoder))
        moved = max(
            np.abs(getattr(after, kind) - getattr(plain, kind)).max()
            for kind in ("similarities", "normalised", "stretches")
        )
        differ = int((scored.accepted != rescored.accepted).sum())
        rates = " ".join(
            f"{measured(scored):7.4f}{measured(rescored):8.4f}" for measured in (_eer, _cost)
        )
        print(f"{name:>16} {len(scored):>8,} {rates} {differ:>22} {moved:>24.1e}")


def _eer(scored: ScoredTrials) -> float:
    return equal_error_rate(det_curve(scored.scores, scored.same))


def _cost(scored: ScoredTrials) -> float:
    return min_detection_cost(det_curve(scored.scores, scored.same), p_target=0.01)


def report_revocation(said: dict[str, Spoken], encoder: str) -> None:
    """Print how often what was stolen under one key gets in under another."""
    print(f"\nWhat was stolen under one key, submitted under another, {encoder}, balanced")
    print(
        f"{'corpus':>16} {'stolen':>12} {'people':>7} {'of their own':>13} "
        f"{'another key: mean, deviation, largest':>38} {'accepted':>14} "
        f"{'pairs of keys with any':>26}"
    )
    for name, one in said.items():
        people = np.isfinite(one.voices.vectors).all(axis=1)
        for stolen, made in (
            ("voiceprints", voiceprints_as_probes(one)),
            ("utterances", of_their_own(one)),
        ):
            own = _of_own(made, judge_in(None, encoder))
            rows = [_under_two_keys(made, encoder) for _ in range(KEY_PAIRS)]
            alike = np.concatenate([alike for alike, _ in rows])
            let_in = [int(accepted.sum()) for _, accepted in rows]
            print(
                f"{name:>16} {stolen:>12} {people.sum():>7} {np.median(own):>13.3f} "
                f"{f'{alike.mean():.3f}, {alike.std():.3f}, {alike.max():.3f}':>38} "
                f"{f'{sum(let_in)} of {len(alike):,}':>14} {_rate(let_in):>26}"
            )


def of_their_own(said: Spoken) -> Spoken:
    """Return only the trials in which people claim to be who they are."""
    trials = said.corpus.trials
    own = replace(trials, pairs=trials.pairs[trials.same], same=trials.same[trials.same])
    return said._replace(corpus=replace(said.corpus, trials=own))


def voiceprints_as_probes(said: Spoken) -> Spoken:
    """Return trials in which the voiceprints themselves are submitted, each to its owner."""
    trials, voices = said.corpus.trials, said.voices
    kept = np.flatnonzero(np.isfinite(voices.vectors).all(axis=1))
    quality = next(one.quality for one in said.probes if one.embedding is not None)
    probes = [
        Heard(Embedding(voices.vectors[row], voices.vectors[row : row + 1]), quality)
        for row in kept
    ]
    pairs = np.stack([kept, np.arange(len(kept))], axis=1).astype(np.int32)
    own = replace(
        trials,
        probes=tuple(trials.enrolled[row].recordings[0] for row in kept),
        pairs=pairs,
        same=np.ones(len(kept), np.bool_),
    )
    mine = replace(voices, probe_speakers=voices.enrolled_speakers[kept])
    return Spoken(replace(said.corpus, trials=own), mine, probes)


def _of_own(said: Spoken, judge: Judge) -> Floats:
    compared, _ = judged(said, judge)
    return compared.alike.similarities[compared.same]


def _under_two_keys(said: Spoken, encoder: str) -> tuple[Floats, Flags]:
    """Return similarities and decisions of stolen voices with their owners' under another key."""
    now = projection()
    compared, scored = judged(turned(said, now, projection()), judge_in(now, encoder))
    return compared.alike.similarities[compared.same], scored.accepted[scored.same]


def _rate(let_in: list[int]) -> str:
    """Return under how many pairs of keys somebody was let in, with the interval."""
    errors = sum(map(bool, let_in))
    low, high = clopper_pearson(errors, len(let_in))
    return f"{errors} of {len(let_in)} ({100 * low:.2g} to {100 * high:.2g} %)"


def report_renewals(said: dict[str, Spoken], encoder: str) -> None:
    """Print what a copied database is worth after `renew`, through the files themselves."""
    os.environ[keys.VARIABLE] = secrets.token_hex(keys.KEY_BYTES)
    vectors = np.concatenate([one.voices.vectors for one in said.values()])
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    largest, moved = [], []
    with tempfile.TemporaryDirectory() as folder:
        store = JoblibStore(Path(folder) / "voiceprints.joblib")
        for number, vector in enumerate(vectors):
            store.add(_person(f"Person {number}", vector, encoder))
        protection.protect(store, "environment")
        before = _alike(store)
        for _ in range(RENEWALS):
            stolen = np.array(store.gallery().matrix)
            protection.renew(store)
            now = store.gallery().matrix
            largest.append(float(np.abs(np.sum(stolen * now, axis=1)).max()))
            moved.append(float(np.abs(_alike(store) - before).max()))
    print(
        f"\n{len(vectors)} people in one database, renewed {RENEWALS} times: the stolen voiceprint "
        f"closest to its owner's new one\n{max(largest):.3f}; similarities between people moved by "
        f"{max(moved):.1e} after the last renewal"
    )


def _alike(store: JoblibStore) -> Floats:
    matrix = store.gallery().matrix
    return np.asarray(matrix @ matrix.T, np.float64)


def _person(name: str, vector: np.ndarray, encoder: str) -> Voiceprint:
    utterance = EnrolledUtterance(
        vector=(vector / np.linalg.norm(vector)).astype(np.float32),
        norm=0.9,
        partials=4,
        recorded_at="2026-11-21T10:00:00+00:00",
        quality=RecordedQuality(2.5, 30.0, -24.0, 0.0),
        source="microphone",
    )
    return Voiceprint.of(name, encoder, [utterance])


def gallery_of(people: int, encoder: str) -> Columns:
    """Return so many people, a power of ten, of whom each of a few is there many times over."""
    some = zip(range(BLOCK), unit_vectors(BLOCK), strict=True)
    block = Columns.of([_person(f"Person {number}", one, encoder) for number, one in some])
    whole = block
    while len(whole) < people:
        whole = reduce(Columns.followed_by, [whole] * 10)
    return whole


def report_galleries(sizes: list[int], encoder: str) -> None:
    """Print size, opening and searching of plain and encrypted galleries."""
    os.environ[keys.VARIABLE] = secrets.token_hex(keys.KEY_BYTES)
    print(f"\nGalleries, milliseconds, medians of {PROCESSES} fresh processes, page cache warm")
    print(
        f"{'people':>9} {'kind':>10} {'MB':>8} {'write':>8} {'open':>8} {'1st search':>10} "
        f"{'search':>8} {'peak MB':>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voiceprints.joblib"
        for people in sizes:
            for kind, seal in (("plain", None), ("encrypted", _seal())):
                writing = _written(path, gallery_of(people, encoder), seal)
                found = _in_fresh_processes(path, encoder)
                size = path.stat().st_size
                for one in path.parent.iterdir():
                    one.unlink()
                print(
                    f"{people:>9,} {kind:>10} {size / 1e6:>8,.1f} {writing:>8,.0f} "
                    f"{found['open']:>8,.1f} {found['first']:>10,.1f} {found['search']:>8,.2f} "
                    f"{found['peak']:>8,.0f}",
                    flush=True,
                )


def _seal() -> Seal:
    origin, key = new_key("environment")
    return Seal(key, origin)


def _written(path: Path, columns: Columns, seal: Seal | None) -> float:
    """Write a gallery; return the milliseconds that it takes."""
    return milliseconds(lambda: JoblibStore(path).reprotect(lambda _: (columns, seal)))


def _in_fresh_processes(path: Path, encoder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.protection", "--encoder", encoder]
    measured = []
    for _ in range(PROCESSES):
        with path.open("rb") as file:
            while file.read(2**24):
                continue
        run = subprocess.run([*command, "--measure", str(path)], check=True, capture_output=True)
        measured.append(json.loads(run.stdout))
    return {name: statistics.median(one[name] for one in measured) for name in measured[0]}


def measure(path: Path, encoder: str) -> dict[str, float]:
    """Measure one gallery in this process, which has not opened it before."""
    probe, ranking = unit_vectors(1)[0], Judge(encoder).ranking
    store = JoblibStore(path)
    opening = milliseconds(store.gallery)
    gallery = store.gallery()

    def identify() -> object:
        return top(ranking.similarities(gallery.matrix, probe), 5)

    return {
        "open": opening,
        "first": milliseconds(identify),
        "search": statistics.median(milliseconds(identify) for _ in range(SEARCHES)),
        "peak": _peak_mb(),
    }


def _peak_mb() -> float:
    """Return the most memory of this process; `getrusage` would tell that of its parent, too."""
    told = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(told.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def report_verify() -> None:
    """Print the CPU time of a whole login, before and after the database was protected."""
    print("\nCPU of `membrane verify` on a recording, a process each, plain and protected in turn")
    with tempfile.TemporaryDirectory() as home:
        variables = {
            **os.environ,
            "MEMBRANE_HOME": home,
            "MEMBRANE_REPLAY": "allow",
            keys.VARIABLE: secrets.token_hex(keys.KEY_BYTES),
        }
        recordings = sorted((RECORDINGS / "ada").glob("enrol*"))[:3]
        files = [part for one in recordings for part in ("-f", str(one))]
        _membrane(["enroll", "-u", "ada", "--consent", *files], variables)
        login = sorted((RECORDINGS / "ada").glob("login*"))[0]
        command = ["verify", "-u", "ada", "-f", str(login)]
        spent = [_plain_and_protected(command, variables) for _ in range(ROUNDS)]
    plain, protected = zip(*spent, strict=True)
    more = statistics.median(b - a for a, b in spent)
    print(
        f"plain {_spread(plain)}, protected {_spread(protected)}, median difference "
        f"{1000 * more:.0f} ms ({ROUNDS} rounds)"
    )
    projecting = [milliseconds(projection) for _ in range(ROUNDS)]
    deriving = [milliseconds(_derived) for _ in range(3)]
    print(
        f"in it: drawing the projection {statistics.median(projecting):.0f} ms elapsed; a "
        f"passphrase adds {statistics.median(deriving):.0f} ms elapsed (scrypt)"
    )


def _plain_and_protected(command: list[str], variables: dict[str, str]) -> tuple[float, float]:
    plain = _membrane(command, variables)
    _membrane(["protect", "--key", "environment"], variables)
    protected = _membrane(command, variables)
    _membrane(["protect", "--off"], variables)
    return plain, protected


def _membrane(arguments: list[str], variables: dict[str, str]) -> float:
    """Run a command to its good end; return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "membrane", *arguments]
    subprocess.run(command, env=variables, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _derived() -> None:
    origin, _ = new_key("passphrase", lambda _: "correct horse battery staple")
    if not origin.cost:
        raise WrongKey("a passphrase that costs nothing")


def _spread(seconds: tuple[float, ...]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def main() -> None:
    """Report what was asked for, or be the fresh process that measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("accuracy", "revocation", "gallery", "verify")
    parser.add_argument("--part", choices=parts, action="append")
    parser.add_argument("--encoder", default=Settings.encoder)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.encoder)))
        return
    wanted = options.part or parts
    if {"accuracy", "revocation"} & set(wanted):
        said = {name: spoken(name, options.encoder) for name in SPOKEN}
    if "accuracy" in wanted:
        report_accuracy(said, options.encoder)
    if "revocation" in wanted:
        report_revocation(said, options.encoder)
        report_renewals(said, options.encoder)
    if "gallery" in wanted:
        report_galleries(sorted(options.sizes), options.encoder)
    if "verify" in wanted:
        report_verify()


if __name__ == "__main__":
    main()
