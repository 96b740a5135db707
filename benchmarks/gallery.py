"""How long a gallery takes to open and to search, at 1 to 1,000,000 voiceprints.

``python benchmarks/gallery.py`` writes galleries of random unit vectors with the store's own
writer, then measures each in a fresh process, first with none of the file in the page cache, then
with all of it there: to open it, to find a name, and to identify a probe (one matrix product over
the gallery and the five best). Beside it stands the memory bandwidth of the machine, measured in
the same run by the fastest way numpy has to read as many bytes (a dot product of BLAS): a product
must read the gallery once, so that is its floor.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from membrane.settings import Settings
from membrane.store import database_file
from membrane.store.columns import Columns, Texts, name_hash, starts_of
from membrane.store.joblib_store import JoblibStore
from membrane.store.voiceprint import VECTOR_SIZE
from membrane.voice.judge import Judge
from membrane.voice.scoring import top

SIZES = (1, 1_000, 100_000, 1_000_000)
REPEATS = 7
PROCESSES = 5
VECTOR_BYTES = VECTOR_SIZE * 4

PERSON = json.dumps(dict.fromkeys(("created_at", "updated_at", "consent_at"), "2026-11-21T10:00Z"))
UTTERANCE = json.dumps(
    {
        "recorded_at": "2026-11-21T10:00Z",
        "source": "microphone",
        "source_rate": 48_000,
        "device": "",
        "partials": 4,
        "weight": 1.0,
        "norm": 0.9,
        "quality": {"speech_s": 2.5, "snr_db": 30.0, "level_dbfs": -24.0, "clipped": 0.0},
    }
)


def unit_vectors(people: int) -> np.ndarray:
    """Return random vectors of length 1, shape (people, 256), float32."""
    vectors = np.random.default_rng(2026).standard_normal((people, VECTOR_SIZE), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def gallery_of(people: int) -> Columns:
    """Return people of one utterance each, without a Python object for each of them."""
    vectors = unit_vectors(people)
    names = [f"Person {number}" for number in range(people)]
    return Columns(
        vectors=vectors,
        encoders=(Settings.encoder,),
        encoder_codes=np.zeros(people, np.uint16),
        name_hashes=np.array([name_hash(name) for name in names], np.uint64),
        names=Texts.of(names),
        passphrases=Texts.of([""] * people),
        facts=Texts.of([PERSON] * people),
        first_utterances=starts_of([1] * people),
        utterance_vectors=vectors,
        utterance_facts=Texts.of([UTTERANCE] * people),
        fingerprints=Texts.of([""] * people),
    )


def milliseconds(function: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000


def measure(path: Path) -> dict[str, float]:
    """Measure one gallery in this process, which has not opened it before."""
    store = JoblibStore(path)
    opening = milliseconds(store.gallery)
    gallery = store.gallery()
    name = gallery.name(len(gallery) // 2)
    finding = milliseconds(lambda: gallery.index_of(name))
    probe = unit_vectors(1)[0]
    ranking = Judge(Settings.encoder).ranking

    def identify() -> object:
        return top(ranking.similarities(gallery.matrix, probe), 5)

    return {
        "open": opening,
        "find": finding,
        "first": milliseconds(identify),
        "search": statistics.median(milliseconds(identify) for _ in range(REPEATS)),
        "product": min(milliseconds(lambda: gallery.matrix @ probe) for _ in range(REPEATS)),
    }


def in_fresh_processes(path: Path, *, cold: bool) -> dict[str, float]:
    """Return medians over processes that each measure a gallery, its file cached or not."""
    command = [sys.executable, __file__, "--measure", str(path)]
    measured = []
    for _ in range(PROCESSES):
        with path.open("rb") as file:
            if cold:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(2**24):
                    continue
        output = subprocess.run(command, check=True, capture_output=True).stdout
        measured.append(json.loads(output))
    return {
        name: statistics.median(measures[name] for measures in measured) for name in measured[0]
    }


def read_bandwidth(size: int) -> float:
    """Return how many bytes a second BLAS reads from memory, in GB/s."""
    numbers = np.ones(size // 4, np.float32)
    return size / min(milliseconds(lambda: numbers @ numbers) for _ in range(REPEATS)) / 1e6


def copy_bandwidth(size: int) -> float:
    """Return how many bytes a second numpy copies, reading and writing counted, in GB/s."""
    source, target = np.ones(size // 8, np.float32), np.ones(size // 8, np.float32)
    return size / min(milliseconds(lambda: np.copyto(target, source)) for _ in range(REPEATS)) / 1e6


def report(folder: Path, sizes: list[int]) -> None:
    """Measure galleries of these sizes and print a table."""
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, OMP_NUM_THREADS {threads}")
    print(f"milliseconds, medians of {PROCESSES} fresh processes; search: one product over the")
    print("gallery and the 5 best; rate: of the product alone, the quickest of each process")
    print(f"{'':>18} | {'page cache cold':^23} | {'page cache warm':^42}")
    print(
        f"{'people':>9} {'MB':>8} | {'open':>6} {'find':>6} {'search':>9} "
        f"| {'open':>6} {'find':>6} {'1st search':>10} {'search':>8} {'GB/s':>8}"
    )
    for people in sizes:
        path = folder / f"{people}.joblib"
        database_file.write(path, gallery_of(people))
        cold, warm = (in_fresh_processes(path, cold=cold) for cold in (True, False))
        rate = people * VECTOR_BYTES / warm["product"] / 1e6
        print(
            f"{people:>9,} {path.stat().st_size / 1e6:>8,.1f} "
            f"| {cold['open']:>6.2f} {cold['find']:>6.2f} {cold['first']:>9.2f} "
            f"| {warm['open']:>6.2f} {warm['find']:>6.2f} {warm['first']:>10.3f} "
            f"{warm['search']:>8.3f} {rate:>8.1f}",
            flush=True,
        )
        path.unlink()
    size = max(sizes) * VECTOR_BYTES
    reading, copying = read_bandwidth(size), copy_bandwidth(size)
    print(f"memory bandwidth over {size / 1e6:,.1f} MB: reading {reading:.1f} GB/s,")
    print(
        f"copying {copying:.1f} GB/s; the largest product reaches {rate / reading:.2f} of reading"
    )


def main() -> None:
    """Measure in a temporary folder, or be the fresh process that measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument("--folder", type=Path, help="where to write (2.4 GB for a million)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report(Path(folder), sorted(options.sizes))


if __name__ == "__main__":
    main()
