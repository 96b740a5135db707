"""Check that no file crashes a command, hangs it or fills the memory.

    python -m benchmarks.hostile_files [--files 100000] [--workers 2] [--seed 1] [--keep FOLDER]

Hypothesis draws damaged copies of valid files of every kind that Membrane reads (see `KINDS`). Up
to four edits change bits, bytes and numbers, and cut, double and splice parts. Files with an inner
structure also get values that nobody would write. Most checksums are made right again, because a
wrong one would stop the damage before the decoder sees it. A child process then does with each file
what a command does with it.

Membrane may accept a file, or refuse it in one line with the exit code of its kind. It has 2 s of
processor time and 1.5 GB more memory than an idle process, prints nothing, and leaves no file
behind or open. An encrypted or registered file is accepted only if it is unchanged. Anything else
is a finding: it makes the exit code 1, and --keep keeps the file. Seed and number decide a file as
long as the version of Hypothesis is the same. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import secrets
import signal
import sqlite3
import struct
import sys
import tempfile
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from membrane import errors
from membrane.audio import files, fingerprint, preparation, quality, utterance
from membrane.evaluation import trials
from membrane.evaluation.corpora import labels, recordings, transcripts
from membrane.login import protect as protection
from membrane.models import registry as models
from membrane.protection import keys
from membrane.settings import load_settings
from membrane.store import columns, database_file, guarded_bytes, sqlite_login_state, voiceprint
from membrane.store.joblib_store import JoblibStore
from membrane.store.log import decision_log, lines
from membrane.store.unpickling import load_plain
from membrane.terminal import console
from membrane.terminal.text import escaped
from membrane.training import recipe
from membrane.voice import calibration, normalisation

CPU_S = 2.0
"""Seconds of processor time for one file. On a busy machine wall time says less."""
WALL_S = 60.0
"""Seconds without an answer after which a child counts as hanging."""
MEMORY = 1536 << 20
"""Bytes of address space beyond what the modules and networks of an idle child take."""
BATCH = 2000
"""Files for one child. The next child starts with clean memory."""
LEFT_BEHIND = (".lock",)
"""Endings of files that a command may leave beside another one."""
LONGEST_MESSAGE = 450
"""Characters of an error's line without the path. The names that a recipe may hold take 380."""
CHOICES = 1 << 15
"""Random bytes that Hypothesis turns into one file; it uses a few hundred of them."""

FINE, DIED = "fine", "died"


# What a command does with a file of each kind


def _hear(path: Path) -> None:
    heard = files.read_utterance(path)
    quality.require(preparation.prepare(heard).quality, source=str(path))
    fingerprint.fingerprint_of(heard.samples)


def _look_up_everybody(path: Path, *, sealed: bool = False) -> list[Any]:
    gallery = JoblibStore(path, sealed_only=sealed).gallery()
    gallery.by_encoder()
    gallery.index_of("anna")
    list(gallery.passphrases())
    names = list(gallery.names())
    for row, name in enumerate(names):
        gallery.encoder_of(row)
        gallery.index_of(name)
    return [*gallery.summaries(), *(gallery.voiceprint(row).as_json() for row in range(len(names)))]


def _look_up_logins(path: Path) -> None:
    state = sqlite_login_state.SqliteLoginState(path.with_name("file"))
    for name in ("Anna", "somebody else"):
        state.state_of(name)
        state.recent_prompts(name)
        state.recent_recordings(name)
        with suppress(errors.LockedOut):
            state.withdraw(state.begin(name))


def _look_through_the_log(path: Path) -> None:
    log, text = decision_log.DecisionLog(path.with_name("file.log")), io.StringIO()
    for as_json in (False, True):
        view = console.View(answers=Console(file=text), as_json=as_json)
        view.log_entries(log.entries(), {})
        view.log_check(log.verify())
    plain = text.getvalue().replace("\n", "").replace("\t", "")
    if escaped(plain) != plain:
        raise ValueError(f"a terminal would obey {plain[:100]!r}")
    log.append({"event": "verify", "accepted": False})


def _calibrate(path: Path) -> None:
    found = calibration.load_calibration("resemblyzer", path=path)
    if not np.isfinite(found.llr(0.8, calibration.Circumstances(2.0, 20.0, 6.0))):
        raise ValueError("the calibrated score is not finite")


def _check_model(path: Path) -> bytes:
    return models.check(models.find("silero-vad"), path).read_bytes()


def _read_transcripts(path: Path) -> None:
    named = [recordings.Recording((path.with_name(name),), "anna") for name in LISTED]
    transcripts.read_transcripts(path, named)


LISTED = dict.fromkeys(("a1.wav", "a2.wav", "b1.wav"), b"not read")
"""Recordings that lists name."""


# Forms: how a valid file is taken apart into plain values, and made of them and the valid file

JSON = re.compile(rb"^(\w* ?)(\{[ -~]*\}|\[[ -~]*\])$", re.MULTILINE)
"""A line of JSON, perhaps after a key."""


def _as_json(values: Any, sound: bytes) -> bytes:
    rest, compact = iter(values), json.JSONEncoder(separators=(",", ":"))
    return JSON.sub(lambda found: found[1] + compact.encode(next(rest, {})).encode(), sound)


@cache
def _columns_of(content: bytes) -> dict[str, Any]:
    """Return the columns of a database, and those of text once more as lists of bytes."""
    found: dict[str, Any] = {**cast(Any, load_plain(content))}
    for name in columns.TEXT_COLUMNS:
        texts = columns.Texts(found[f"{name}_characters"], found[f"{name}_starts"])
        found[f"text {name}"] = [texts.content(row) for row in range(len(texts))]
    return found


def _as_columns(tree: Any, sound: bytes) -> bytes:
    import joblib

    mapping, file = dict(tree), io.BytesIO()
    for name in columns.TEXT_COLUMNS:
        contents = mapping.pop(f"text {name}", None)
        if contents is not None and contents is not _columns_of(sound)[f"text {name}"]:
            new = columns.Texts.of_bytes(contents)
            mapping |= {f"{name}_characters": new.characters, f"{name}_starts": new.starts}
    joblib.dump(mapping, file, protocol=database_file.PICKLE_PROTOCOL)
    return file.getvalue()


GUARD = len(guarded_bytes.PLAIN) + guarded_bytes.CHECKSUM + 1
"""Bytes before the content of a row of the record of logins."""


def _rows_of(content: bytes | bytearray) -> list[tuple[int, str, str, bytes]]:
    """Return the rows of a record of logins."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.deserialize(bytes(content))
        return opened.execute("SELECT number, kind, key, content FROM kept").fetchall()


def _with_rows(content: bytes | bytearray, rows: Iterable[bytes]) -> bytes:
    """Return a record of logins with other contents, in the order of its rows."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.deserialize(bytes(content))
        for (number, kind, key, _), new in zip(_rows_of(content), rows, strict=False):
            raw = guarded_bytes.guarded(new, f"logins {kind} {key}", None)
            opened.execute("UPDATE kept SET content = ? WHERE number = ?", (raw, number))
        # SQLite's own header has a counter of changes, which stays as it was.
        return bytes(content[:100]) + opened.serialize()[100:]


def _as_rows(tree: Any, sound: bytes) -> bytes:
    compact = json.JSONEncoder(separators=(",", ":"))
    return _with_rows(sound, [compact.encode(value).encode() for value in tree])


ROWS = (lambda content: [json.loads(raw[GUARD:]) for *_, raw in _rows_of(content)], _as_rows)
JSON_LINES = (lambda content: [json.loads(found[2]) for found in JSON.finditer(content)], _as_json)
TOML = (lambda text: tomllib.loads(text.decode()), lambda new, _: tomli_w.dumps(new).encode())
COLUMNS = (_columns_of, _as_columns)


# Mending: checksums are made right in a damaged file, given the valid one


def _mend_header(content: bytearray, _: bytes) -> None:
    end = content.find(b"\n", content.find(b"\n") + 1) + 1
    if end:
        content[end : end + 65] = hashlib.sha256(content[:end]).hexdigest().encode() + b"\n"


def _mend_logins(content: bytearray, _: bytes) -> None:
    with suppress(sqlite3.Error, MemoryError, *UNWRITABLE):  # what SQLite cannot read stays so
        content[:] = _with_rows(content, [raw[GUARD:] for *_, raw in _rows_of(content)])


def _mend_log(content: bytearray, _: bytes) -> None:
    written, previous = [], lines.NOTHING
    with suppress(*UNWRITABLE):  # what is no longer JSON stays as it is
        for line in content.splitlines():
            fields = json.loads(line)
            fields |= {"previous": previous} if "previous" in fields else {}
            stamped = {name: fields[name] for name in fields if name not in {"by", "hash"}}
            written.append(lines.Stamp().line(stamped))
            previous = lines.hash_of(written[-1])
        content[:] = b"\n".join(written) + content[len(content.rstrip(b"\n")) :]


def _crc(data: bytes | bytearray, polynomial: int, bits: int) -> int:
    table, rest = _crc_table(polynomial, bits), 0
    for byte in data:
        rest = rest << 8 & (1 << bits) - 1 ^ table[rest >> (bits - 8) ^ byte]
    return rest


@cache
def _crc_table(polynomial: int, bits: int) -> list[int]:
    table = [byte << (bits - 8) for byte in range(256)]
    for _ in range(8):
        table = [one << 1 ^ (one >> (bits - 1)) * (polynomial | 1 << bits) for one in table]
    return table


def _mend_ogg(content: bytearray, _: bytes, *, serial: bytes = b"") -> None:
    """Mend every whole page (RFC 3533, section 6), and give the stream a number."""
    start = content.find(b"OggS")
    while start >= 0:
        table = start + 27
        body = table + content[start + 26] if table <= len(content) else table
        end = body + sum(content[table:body])
        if end <= len(content):
            content[start + 14 : start + 14 + len(serial)] = serial
            content[start + 22 : start + 26] = bytes(4)
            checksum = _crc(content[start:end], 0x04C11DB7, 32)
            content[start + 22 : start + 26] = checksum.to_bytes(4, "little")
        start = content.find(b"OggS", start + 4)


def _mend_flac(content: bytearray, sound: bytes) -> None:
    """Mend the frames (RFC 9639, section 9) that begin where they did before the damage."""
    if len(content) == len(sound):
        for start, header, end in _flac_frames(sound):
            content[header] = _crc(content[start:header], 0x07, 8)
            content[end - 2 : end] = _crc(content[start : end - 2], 0x8005, 16).to_bytes(2)


@cache
def _flac_frames(sound: bytes) -> list[tuple[int, int, int]]:
    """Return where each frame of a valid file starts, where its header ends, and where it ends."""
    found = [at.start() for at in re.finditer(b"\xff\xf8", sound)]
    both = [(at, at + size) for at in found for size in (5, 6, 7)]  # as libsndfile writes them
    both = [(at, header) for at, header in both if _crc(sound[at : header + 1], 0x07, 8) == 0]
    ends = [*(at for at, _ in both[1:]), len(sound)]
    return [(at, header, end) for (at, header), end in zip(both, ends, strict=True)]


# The kinds


@dataclass(frozen=True)
class Kind:
    """One kind of file: how often it is drawn, and what a command does with it."""

    share: int
    read: Callable[[Path], Any]
    name: str = "file"
    form: tuple[Callable[[bytes], Any], Callable[[Any, bytes], bytes]] | None = None
    mend: Callable[[bytearray, bytes], None] = lambda *_: None
    refused: type[errors.MembraneError] = errors.UsageError  # or another of the same exit code
    authentic: bool = False  # `read` must refuse, or return what it does for the valid file


_sound = partial(Kind, read=_hear, refused=errors.UnusableRecording)
_stored = partial(Kind, refused=errors.StoreError)
_sealed = partial(_look_up_everybody, sealed=True)
_log = partial(_stored, read=_look_through_the_log, form=JSON_LINES, mend=_mend_log)

# Users record the first formats. libsndfile looks at the content only, so whoever sends a file
# chooses its decoder.
KINDS = {
    "WAV": _sound(220),
    "FLAC": _sound(140, mend=_mend_flac),
    "OGG": _sound(120, mend=_mend_ogg),
    "OPUS": _sound(80, mend=_mend_ogg),
    "MP3": _sound(140),
    **dict.fromkeys(["WAVEX", "RF64", "W64", "AU", "AIFF", "CAF"], _sound(23)),
    **dict.fromkeys(["AVR", "HTK", "IRCAM", "MAT4", "MAT5", "MPC2K", "NIST"], _sound(6)),
    **dict.fromkeys(["PAF", "PVF", "SDS", "SVX", "VOC", "WVE", "XI"], _sound(6)),
    "database": _stored(160, _look_up_everybody, form=COLUMNS),
    "sealed": _stored(40, _sealed, form=JSON_LINES, mend=_mend_header, authentic=True),
    "logins": _stored(30, _look_up_logins, f"file{sqlite_login_state.ENDING}", ROWS, _mend_logins),
    "log": _log(30, name="file.log"),
    "log head": _log(10, name="file.log.head"),
    "settings": Kind(15, lambda _: load_settings(), "settings.toml", TOML),
    "calibration": Kind(20, _calibrate, form=TOML),
    "recipe": Kind(10, recipe.read_recipe, form=TOML),
    "cohort": Kind(10, normalisation.read_cohort, refused=errors.ModelUnavailable),
    "model": Kind(3, _check_model, refused=errors.ModelUnavailable, authentic=True),
    "trials": Kind(15, lambda path: trials.read_trial_list(path, path.parent)),
    "labels": Kind(15, labels.read_labels),
    "transcripts": Kind(10, _read_transcripts),
}


# Valid files: small, and the same in every run


@dataclass(frozen=True)
class File:
    """A valid or damaged file, and what lies beside it."""

    kind: str
    content: bytes
    beside: dict[str, bytes] = field(default_factory=dict)


VOICE = Path(__file__).resolve().parents[1] / "tests" / "recordings" / "edgar"
STRETCH = slice(8192, 8192 + 28800)
"""Of the first passphrase: 1.8 s of speech throughout, so that a valid copy is accepted."""
WRITTEN_AT = re.compile(rb"(PEAK.{8}).{4}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.DOTALL)
"""Times that libsndfile writes into a file."""
KEY = {keys.VARIABLE: "0" * 2 * keys.KEY_BYTES}
"""Opens the encrypted database, from the environment."""
NOW, WHEN = 1_800_000_000.0, "2026-11-21T10:00:00+00:00"
LISTS = {
    "settings": 'security = "strict"\nattempts = 2\nmetric = "cosine"\nthreshold = 0.8\n',
    "recipe": recipe.Recipe().as_toml(),
    "trials": "1\ta1.wav\ta2.wav\n0\ta1.wav\tb1.wav\n",
    "labels": "file\tspeaker\tage\na1.wav\tanna\t31\nb1.wav\tboris\t12\n",
    "transcripts": "a1.wav\tone two three\nb1\tfour five\n",
}
SHIPPED = {
    "calibration": "resemblyzer.calibration.toml",
    "cohort": "resemblyzer.cohort.npz",
    "model": "silero-vad.onnx",
}


@cache
def seeds() -> dict[str, list[File]]:
    """Return the valid files by kind."""
    samples = files.read_utterance(min(VOICE.glob("passphrase*.flac"))).samples[STRETCH]
    weights = models.shipped_folder()
    return {
        **{kind: list(_sounds(kind, samples)) for kind in KINDS if KINDS[kind].read is _hear},
        **{kind: [File(kind, content, beside)] for kind, content, beside in _kept()},
        **{kind: [File(kind, (weights / name).read_bytes())] for kind, name in SHIPPED.items()},
        **{kind: [File(kind, text.encode(), LISTED)] for kind, text in LISTS.items()},
    }


def _sounds(kind: str, samples: np.ndarray) -> Iterator[File]:
    """Yield a sound in every subtype of a format that libsndfile writes."""
    import soundfile

    container = "OGG" if kind in {"OGG", "OPUS"} else kind
    subtypes = {"OGG": ["VORBIS"], "OPUS": ["OPUS"]}.get(kind)
    for subtype in subtypes or sorted(soundfile.available_subtypes(container)):
        for channels in (1, 2):
            file, many = io.BytesIO(), np.repeat(samples[:, np.newaxis], channels, axis=1)
            with suppress(soundfile.LibsndfileError):  # the format lacks this combination
                soundfile.write(
                    file, many, utterance.SAMPLE_RATE, format=container, subtype=subtype
                )
                content = bytearray(file.getvalue())
                if container == "OGG":
                    _mend_ogg(content, b"", serial=bytes(4))
                else:
                    content[:] = WRITTEN_AT.sub(lambda m: (m[1] or b"").ljust(len(m[0])), content)
                yield File(kind, bytes(content))


def _kept() -> list[tuple[str, bytes, dict[str, bytes]]]:
    """Return what Membrane keeps, with zeros for every salt, secret and random number."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, KEY),
        mock.patch.object(os, "urandom", bytes),
        mock.patch.object(secrets, "token_bytes", bytes),
        mock.patch.object(secrets, "token_hex", lambda length: "00" * length),
    ):
        path = Path(folder) / "file"
        store, state = (
            JoblibStore(path),
            sqlite_login_state.SqliteLoginState(path, clock=lambda: NOW),
        )
        log = decision_log.DecisionLog(path.with_name("file.log"), clock=lambda: NOW)
        for number, name in enumerate(("Anna", "Zoë", "Max")):
            store.add(_person(name, number))
            turn = state.begin(name)
            state.remember_prompt(name, "3 1 4 1 5 9")
            log.append({"event": "verify", "who": "0" * 32, "refused_by": ["voice"]})
        state.withdraw(turn)
        kinds = ("database", "logins", "log", "log head")
        found = {kind: path.with_name(KINDS[kind].name).read_bytes() for kind in kinds}
        protection.protect(store, "environment")
        found["sealed"] = path.read_bytes()
    both = {KINDS[kind].name: found[kind] for kind in ("log", "log head")}
    return [(kind, found[kind], both if "log" in kind else {}) for kind in found]


def _person(name: str, number: int) -> voiceprint.Voiceprint:
    utterances = [
        voiceprint.EnrolledUtterance(
            vector=vector,
            norm=0.9,
            partials=3,
            recorded_at=WHEN,
            quality=voiceprint.RecordedQuality(2.5, 20.0, -23.5, 0.0),
            fingerprint=bytes(range(200)),
        )
        for vector in np.eye(voiceprint.VECTOR_SIZE, dtype=np.float32)[number : number + 2]
    ]
    person = voiceprint.Voiceprint.of(name, "resemblyzer", utterances)
    return replace(person, passphrase="open the green door", created_at=WHEN, updated_at=WHEN)


# Strategies: what is done to a valid file

DEEP = 100_000
"""Brackets within brackets."""
HOSTILE_BYTES = (
    *(b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"x" * 10_000, b"9" * 5_000),
    *(b"../../x", b"a\nb", b"\x1b[2J", "\u202eanna".encode(), "\U0001f600".encode()),
    *(b"[" * DEEP, b'{"a":' * DEEP, b"{}", b"[]", b"null", b"NaN", b'"x"', b"1e999"),
)
HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1 << 70, 1e308, -1e308, float("nan"), float("inf"), "", "x", "1e400"),
    *("x" * 10_000, "\x1b[2J\n", "\ud800", [], [[]], {}, {"x": None}, [1] * 1000),
)
HOSTILE = st.sampled_from(HOSTILE_VALUES) | st.text(max_size=20) | st.integers() | st.floats()
HOSTILE_FLOATS = (float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 1e-45, 0.0)
EXTREMES = (0, 1, 2, *((1 << n) - one for n in (7, 8, 15, 16, 31, 32, 63, 64) for one in (0, 1)))
UNWRITABLE = (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError)
"""Raised where a format cannot hold a hostile value."""
CHUNK = re.compile(
    rb"fmt |data|fact|LIST|PEAK|RIFF|RIFX|ds64|FORM|COMM|SSND|FVER|COMT|desc|pakt|kuki|chan|free"
    rb"|OpusHead|OpusTags|\x01vorbis|\x03vorbis|\x05vorbis|OggS|fLaC|BODY|VHDR|ID3|\.snd|Info|Xing"
)
"""Words after which a file tells sizes, rates and counts."""
HEADER = 200
CHANCE = st.integers(0, 2**64 - 1).map(random.Random)


@st.composite
def hostile(draw: st.DrawFn, value: Any) -> Any:
    """Draw a value with another one somewhere in it, or with something left out or added."""
    luck = draw(st.integers(0, 9))
    if not luck or not isinstance(value, dict | list | bytes | np.ndarray) or not len(value):
        return draw(HOSTILE)
    if isinstance(value, np.ndarray):
        return _changed_array(value, draw(CHANCE))
    if isinstance(value, bytes):
        if value.startswith(b'{"') and luck < 6:
            return json.dumps(draw(hostile(json.loads(value)))).encode()
        return draw(st.sampled_from(HOSTILE_BYTES) | st.binary(max_size=20))
    is_mapping = isinstance(value, dict)
    place = draw(st.sampled_from([*value, "unknown"] if is_mapping else range(len(value))))
    changed = value.copy()
    changed[place] = draw(hostile(None if place == "unknown" else value[place]))
    if luck == 1:
        del changed[place]
    return changed


def _changed_array(array: np.ndarray, chance: random.Random) -> np.ndarray:
    if chance.random() < 0.4:
        return array.astype(chance.choice(["f4", "f8", "i8", "u1", "u2", ">f4", "?"]))
    if chance.random() < 0.5:
        longer = np.append(array, array[:1])
        return chance.choice([array.ravel(), array[:-1], array[:0], array[np.newaxis], longer])
    changed = array.copy()
    for _ in range(chance.randint(1, 3)):
        number = np.array(chance.choice([*EXTREMES, -1, *HOSTILE_FLOATS]))
        changed.flat[chance.randrange(array.size)] = number.astype(array.dtype)
    return changed


def _number(chance: random.Random) -> bytes:
    """Return a number as a file may hold it."""
    if chance.random() < 0.2:
        return struct.pack(chance.choice(("<f", ">f", "<d", ">d")), chance.choice(HOSTILE_FLOATS))
    width = chance.choice((1, 2, 4, 4, 8))
    number = chance.choice(EXTREMES) & (1 << 8 * width) - 1
    return number.to_bytes(width, chance.choice(("little", "big")))


def _flipped(part: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(part)
    for _ in range(chance.randint(1, 16) if part else 0):
        flipped[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


PARTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flipped,
    _flipped,
    lambda part, chance: bytes([chance.choice((0, 0xFF, 0x7F, 0x80))]) * len(part),
    lambda part, chance: chance.randbytes(min(len(part), 4096)),
    lambda part, chance: chance.randbytes(chance.randint(1, 64)) + part,
    lambda part, chance: chance.choice(HOSTILE_BYTES) + part,
    lambda *_: b"",
    lambda part, _: part * 2,
)
"""What may replace a part of a file."""
EDITS = st.integers(0, len(PARTS) + 4)
LENGTHS = st.integers(2, 12).flatmap(lambda bits: st.integers(1, 1 << bits))
HALF, ONE_IN_FIVE = st.booleans(), st.integers(0, 4).map(lambda number: not number)


@st.composite
def _places(draw: st.DrawFn, content: bytes) -> int:
    """Draw a place in a file. Half of them are near the beginning, where headers are."""
    reach = min(len(content), HEADER << draw(st.integers(0, 4))) if draw(HALF) else len(content)
    return draw(st.integers(0, max(0, reach - 1)))


@st.composite
def edited(draw: st.DrawFn, content: bytes, other: bytes) -> bytes:
    """Draw a file with one part replaced: a number, a part of the other file, or one of `PARTS`."""
    edit, start, chance = draw(EDITS), draw(_places(content)), draw(CHANCE)
    if edit < 4:
        if edit < 2 and (words := [found.end() for found in CHUNK.finditer(content)]):
            start = chance.choice(words) + 2 * chance.randrange(20)
        number = _number(chance)
        return content[:start] + number + content[start + len(number) :]
    stop = len(content) if draw(ONE_IN_FIVE) else start + draw(LENGTHS)
    if edit == 4:
        source = draw(_places(other))
        return content[:start] + other[source : source + stop - start] + content[stop:]
    return content[:start] + PARTS[edit - 5](content[start:stop], chance) + content[stop:]


LOTS = st.sampled_from([name for name, kind in KINDS.items() for _ in range(kind.share)])


@st.composite
def mutants(draw: st.DrawFn) -> File:
    """Draw a damaged copy of a valid file."""
    name, chance = draw(LOTS), draw(CHANCE)
    kind, valid = KINDS[name], chance.choice(seeds()[name])
    other = chance.choice(seeds()[draw(LOTS) if draw(ONE_IN_FIVE) else name])
    content, rewritten = bytearray(valid.content), kind.form and chance.random() < 0.4
    if kind.form and rewritten:
        parse, build = kind.form
        with suppress(*UNWRITABLE):
            content[:] = build(draw(hostile(parse(valid.content))), valid.content)
            kind.mend(content, valid.content)
    for _ in range(draw(st.integers(0 if rewritten else 1, 4))):
        content[:] = draw(edited(bytes(content), other.content))
    if chance.random() < 0.7:
        kind.mend(content, valid.content)
    return replace(valid, content=bytes(content))


def maker(seed: int) -> Callable[[int], File]:
    """Return what makes the damaged file of a number."""
    made: list[File] = []

    @settings(database=None)
    @given(mutants())
    def keep(file: File) -> None:
        made.append(file)

    fuzz = cast(Any, keep).hypothesis.fuzz_one_input

    def make(number: int) -> File:
        choices = random.Random(f"{seed}/{number}").randbytes(CHOICES)
        with warnings.catch_warnings(action="ignore"):  # of numbers that an array cannot hold
            fuzz(choices)
        return made.pop()

    return make


# Judging, in children that may die


@dataclass(frozen=True)
class Report:
    """How a file ended: `FINE`, the name of an error, or `DIED`; and what is wrong with that."""

    number: int
    kind: str
    outcome: str
    problem: str = ""
    cpu_s: float = 0.0
    grown_mb: float = 0.0


class Desk:
    """Judges files in an empty folder. The process loses its streams and gets limits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._expected: dict[str, Any] = {}
        tempfile.tempdir = str(folder)
        os.environ.update(KEY, MEMBRANE_HOME=str(folder))
        self._printed = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - as long as the process
        for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            os.dup2(self._printed.fileno(), descriptor)
        warnings.simplefilter("always")
        for name, kind in KINDS.items():  # which loads every module and network
            with suppress(errors.MembraneError):  # some formats are refused unread
                self._expected[name] = kind.read(self._lay_out(seeds()[name][0]))
        self._take_printed()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def judge(self, number: int, file: File) -> Report:
        """Judge a file. A signal ends the process if that takes too long."""
        path = self._lay_out(file)
        keys.forget()
        names, opened = _names(self._folder), _names(DESCRIPTORS)
        held, started = _most_held_mb(), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        outcome, problem = self._verdict(file.kind, path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        cpu_s = time.process_time() - started
        problem = problem or self._left_behind(names, opened)
        return Report(number, file.kind, outcome, problem, cpu_s, _most_held_mb() - held)

    def _lay_out(self, file: File) -> Path:
        for old in self._folder.iterdir():
            old.unlink()
        path = self._folder / KINDS[file.kind].name
        laid_out = {**file.beside, path.name: file.content}
        if file.kind in {"database", "sealed"}:
            # The message about a damaged database looks at the copy before, which may be as bad.
            laid_out[database_file.previous_of(path).name] = file.content
        for name, content in laid_out.items():
            (self._folder / name).write_bytes(content)
        return path

    def _verdict(self, kind: str, path: Path) -> tuple[str, str]:
        try:
            found = KINDS[kind].read(path)
        except errors.MembraneError as error:
            return type(error).__name__, _objection(error, KINDS[kind].refused, path)
        except BaseException as error:  # noqa: BLE001 - to find any is what this is for
            return type(error).__name__, f"{type(error).__name__}: {error}"
        changed = KINDS[kind].authentic and found != self._expected[kind]
        return FINE, "accepted, but it is not what was written" if changed else ""

    def _take_printed(self) -> str:
        sys.stdout.flush()
        sys.stderr.flush()
        self._printed.seek(0)
        text = self._printed.read().decode(errors="replace")
        self._printed.seek(0)
        self._printed.truncate()
        return text

    def _left_behind(self, names: set[str], opened: set[str]) -> str:
        text = self._take_printed()
        allowed = {name + ending for name in names for ending in LEFT_BEHIND}
        left = _names(self._folder) - names - allowed
        found = {
            "left a file open": bool(_names(DESCRIPTORS) - opened),
            f"left files behind: {', '.join(sorted(left))}": bool(left),
            f"printed {text[:200]!r}": bool(text),
        }
        return _first(found)


def _objection(error: errors.MembraneError, allowed: type[errors.MembraneError], path: Path) -> str:
    message = str(error)
    found = {
        f"exit code {error.exit_code}: {message}": error.exit_code != allowed.exit_code,
        f"not one line that can be shown: {message!r}": not message or not message.isprintable(),
        f"a message of {len(message)} characters": (
            len(message.replace(str(path), "")) > LONGEST_MESSAGE
        ),
    }
    return _first(found)


def _first(found: dict[str, bool]) -> str:
    """Return the first problem that is there, or nothing."""
    return next((problem for problem, there in found.items() if there), "")


DESCRIPTORS = "/proc/self/fd"


def _names(folder: str | Path) -> set[str]:
    return set(os.listdir(folder))  # noqa: PTH208 - three times as fast


def _most_held_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _work(seed: int, folder: str, numbers: range, reports: Any) -> None:
    desk, make = Desk(Path(tempfile.mkdtemp(dir=folder))), maker(seed)
    for number in numbers:
        reports.send(desk.judge(number, make(number)))


def _batch(seed: int, folder: str, numbers: range) -> list[Report]:
    """Judge files in a child; after one that ends it, let another child go on."""
    reports: list[Report] = []
    while numbers:
        pipe, theirs = multiprocessing.Pipe(duplex=False)
        arguments = (seed, folder, numbers, theirs)
        child = multiprocessing.get_context("fork").Process(target=_work, args=arguments)
        child.start()
        theirs.close()
        with pipe, suppress(EOFError):
            while numbers and pipe.poll(WALL_S):
                reports.append(pipe.recv())
                numbers = numbers[1:]
            if numbers:
                child.kill()
        child.join()
        if numbers:
            kind = maker(seed)(numbers[0]).kind
            reports.append(Report(numbers[0], kind, DIED, _cause(child.exitcode or 0)))
            numbers = numbers[1:]
    return reports


def _cause(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    causes = {
        "SIGPROF": f"took more than {CPU_S:g} s of processor",
        "SIGKILL": f"killed: no answer for {WALL_S:g} s, or out of memory",
    }
    return causes.get(name, f"killed by {name}")


def judged(seed: int, numbers: range, *, workers: int = 1) -> Iterator[list[Report]]:
    """Yield how files ended, batch by batch."""
    seeds()  # once, for all processes that are forked
    batches = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(workers, fork) as pool:
        yield from pool.map(partial(_batch, seed, folder), batches)


# The command


def summary(reports: Sequence[Report], *, seconds: float) -> str:
    """Return how many files of each kind ended how, as lines."""
    ends = [FINE, *sorted({report.outcome for report in reports} - {FINE})]
    rows = [["kind", "files", *ends, "findings"]]
    kinds = Counter(one.kind for one in reports).most_common()
    for kind, number in [*kinds, ("all", len(reports))]:
        mine = [one for one in reports if kind in {one.kind, "all"}]
        ended = Counter(one.outcome for one in mine)
        findings = sum(bool(one.problem) for one in mine)
        rows.append([kind, *map(str, (number, *(ended[end] for end in ends), findings))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    slowest = max(reports, key=lambda one: one.cpu_s)
    largest = max(reports, key=lambda one: one.grown_mb)
    return "\n".join(
        [
            *(
                "  ".join([kind.ljust(widths[0]), *map(str.rjust, row, widths[1:])])
                for kind, *row in rows
            ),
            f"slowest: {slowest.cpu_s:.2f} s of processor, {slowest.kind} {slowest.number}",
            f"largest: {largest.grown_mb:.0f} MB, {largest.kind} {largest.number}",
            f"{len(reports)} files in {seconds:.0f} s, {len(reports) / seconds:.0f} a second"
            f" ({sum(one.cpu_s for one in reports):.0f} s of processor)",
        ]
    )


def options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile_files",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = partial(parser.add_argument, metavar="N", type=int)
    add("--files", default=100_000, help="number of files (100,000)")
    add("--first", default=0, help="number of the first file (0)")
    add("--workers", default=2, help="child processes (2)")
    add("--seed", default=1, help="another seed makes other files (1)")
    add("--keep", type=Path, metavar="FOLDER", help="keep the files of all findings here")
    return parser.parse_args()


def main() -> int:
    """Judge the files, print the summary, and return 1 if there is a finding."""
    chosen, started = options(), time.monotonic()
    reports: list[Report] = []
    numbers = range(chosen.first, chosen.first + chosen.files)
    for batch in judged(chosen.seed, numbers, workers=chosen.workers):
        reports += batch
        for report in batch:
            if report.problem:
                _tell(report, chosen)
        pace = len(reports) / (time.monotonic() - started)
        print(f"{len(reports)} of {chosen.files}, {pace:.0f} a second", file=sys.stderr)
    print(summary(reports, seconds=time.monotonic() - started))
    return int(any(report.problem for report in reports))


def _tell(report: Report, chosen: argparse.Namespace) -> None:
    print(
        f"FOUND --seed {chosen.seed} --first {report.number} --files 1: "
        f"{report.kind}: {report.problem}",
        file=sys.stderr,
    )
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
        name = f"{chosen.seed}-{report.number}.{report.kind.lower().replace(' ', '-')}"
        (chosen.keep / name).write_bytes(maker(chosen.seed)(report.number).content)


if __name__ == "__main__":
    sys.exit(main())
