import bz2
import gzip
import io
import lzma
import os
import pickle
import tracemalloc
import zlib

import joblib
import numpy as np
import pytest
from joblib.numpy_pickle import NumpyArrayWrapper

from membrane.store.unpickling import MALFORMED, load_plain

PLAIN = {
    "numbers": np.arange(12, dtype=np.float32).reshape(4, 3),
    "empty": np.zeros((0, 256), np.float32),
    "starts": np.array([0, 1, 2**40]),
    "bytes": np.frombuffer("Zoë".encode(), np.uint8),
    "codes": np.array([1, 2], np.uint16),
    "hashes": np.array([2**64 - 1], np.uint64),
    "texts": ["one", "zwö"],
    "version": 1,
    "nothing": [None, True, False, 1.5, -1, 10**12, (), (1, 2, 3, 4)],
}


def dumped(value, protocol=4) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, protocol=protocol)
    return file.getvalue()


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def array_header(**changes) -> NumpyArrayWrapper:
    header = NumpyArrayWrapper(np.ndarray, (4,), "C", np.dtype("f4"), True)
    vars(header).update(changes)
    return header


def evil_call(folder):
    return Calls(os.mkdir, str(folder))


def object_array(folder):
    array = np.empty(1, object)
    array[0] = evil_call(folder)
    return array


FIRING = {
    "a call": evil_call,
    "a call inside": lambda folder: {**PLAIN, "texts": ["one", (evil_call(folder),)]},
    "an array of objects": object_array,
    "an array of objects inside": lambda folder: {**PLAIN, "numbers": object_array(folder)},
    "an array that holds an array of objects": lambda folder: {
        "numbers": Calls(np.array, [object_array(folder)])
    },
    "eval": lambda folder: Calls(eval, f"__import__('os').mkdir({str(folder)!r})"),
    "a function of numpy": lambda folder: Calls(
        np.testing.runstring, f"import os; os.mkdir({str(folder)!r})", {}
    ),
    "the shape of an array": lambda folder: array_header(shape=evil_call(folder)),
    "the subclass of an array": lambda folder: array_header(subclass=evil_call(folder)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FIRING)
def test_a_file_that_runs_a_command_in_joblib_does_nothing_here(kind, tmp_path):
    harm = tmp_path / "harm"
    file = dumped(FIRING[kind](harm))
    try:
        joblib.load(io.BytesIO(file))
    except (TypeError, ValueError, AttributeError, EOFError):
        assert harm.exists()
    assert harm.exists(), "the file must be one that does harm, or this test shows nothing"
    harm.rmdir()
    with pytest.raises(MALFORMED):
        load_plain(file)
    assert not harm.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 5])
def test_every_protocol_but_the_one_we_write_is_refused(protocol, tmp_path):
    with pytest.raises(MALFORMED):
        load_plain(pickle.dumps(evil_call(tmp_path / "harm"), protocol))
    assert not (tmp_path / "harm").exists()


def test_what_joblib_writes_is_read_as_joblib_reads_it():
    file = dumped(PLAIN)
    ours, theirs = load_plain(file), joblib.load(io.BytesIO(file))
    assert list(ours) == list(theirs) == list(PLAIN)
    for name, value in PLAIN.items():
        np.testing.assert_array_equal(
            np.asarray(ours[name], object), np.asarray(theirs[name], object)
        )
        if isinstance(value, np.ndarray):
            assert ours[name].dtype == value.dtype
            assert ours[name].shape == value.shape


def test_arrays_are_views_that_cannot_be_written():
    numbers = load_plain(dumped(PLAIN))["numbers"]
    assert not numbers.flags.owndata
    assert not numbers.flags.writeable
    assert numbers.flags.c_contiguous


@pytest.mark.parametrize(
    "compressed",
    [zlib.compress, gzip.compress, bz2.compress, lzma.compress, lambda data: b"ZF0x10" + data],
    ids=["zlib", "gzip", "bz2", "xz", "joblib before 0.10"],
)
def test_compressed_files_are_refused_without_unpacking_them(compressed):
    bomb = dumped({"numbers": np.zeros(2_000_000, np.float32)})
    with pytest.raises(ValueError, match="not an uncompressed joblib file"):
        load_plain(compressed(bomb))


@pytest.mark.parametrize(
    "header",
    [
        array_header(shape=(10**15,)),
        array_header(shape=(2**62, 2**62)),
        array_header(shape=(0, -1)),
        array_header(shape=(1,) * 40),
        array_header(shape="4"),
        array_header(shape=(True,)),
        array_header(order="F"),
        array_header(dtype=np.dtype("O")),
        array_header(dtype=np.dtype(">f4")),
        array_header(dtype=np.dtype("f8")),
        array_header(dtype=np.dtype([("a", "f4", (1000, 1000))])),
        array_header(dtype="f4"),
        array_header(dtype=None),
        array_header(subclass=np.dtype),
        array_header(subclass=None),
    ],
    ids=lambda header: str(vars(header))[35:120],
)
def test_an_array_that_is_not_what_we_write_is_refused(header):
    with pytest.raises(MALFORMED):
        load_plain(dumped(header) + bytes(64))


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + pickle.STACK_GLOBAL


DTYPE = named("numpy", "dtype")
WRAPPER = named("joblib.numpy_pickle", "NumpyArrayWrapper")
DEEP = pickle.EMPTY_TUPLE + pickle.TUPLE1 * 1_000_000


@pytest.mark.parametrize(
    "program",
    [
        pickle.EMPTY_DICT + pickle.MARK + DEEP + pickle.NONE + pickle.SETITEMS,
        DTYPE + DEEP + pickle.NONE + pickle.NONE + pickle.TUPLE3 + pickle.REDUCE,
        WRAPPER + pickle.EMPTY_DICT + pickle.BUILD,
        DTYPE + pickle.EMPTY_DICT + pickle.BUILD,
        DTYPE + pickle.EMPTY_TUPLE + pickle.NEWOBJ,
        WRAPPER + pickle.EMPTY_TUPLE + pickle.REDUCE,
        named("numpy", "load"),
        named("builtins", "dict"),
        named("numpy", "ndarray") + pickle.EMPTY_TUPLE + pickle.REDUCE,
        pickle.NONE + pickle.BINPERSID,
        pickle.GLOBAL + b"os\nsystem\n",
        pickle.EXT1 + b"\x01",
        pickle.INST + b"os\nsystem\n",
        pickle.BYTEARRAY8 + (2**62).to_bytes(8, "little"),
        pickle.BINUNICODE + (2**31).to_bytes(4, "little"),
        pickle.FRAME + (2**62).to_bytes(8, "little"),
        pickle.POP,
        pickle.NONE + pickle.STOP,
        b"",
    ],
    ids=lambda program: ascii(program[:24]),
)
def test_a_program_that_no_dump_makes_is_refused(program):
    with pytest.raises(MALFORMED):
        load_plain(pickle.PROTO + b"\x04" + program + pickle.STOP)
    assert np.dtype("f4").str == "<f4"
    assert NumpyArrayWrapper.read.__name__ == "read"


@pytest.mark.parametrize(
    "instructions",
    [
        pickle.EMPTY_LIST * 2_000_000,
        pickle.MARK * 2_000_000,
        pickle.FRAME + (2_000_000).to_bytes(8, "little") + pickle.NONE * 2_000_000,
        pickle.NONE + pickle.MEMOIZE * 2_000_000,
        pickle.BINUNICODE + (2_000_000).to_bytes(4, "little") + b"x" * 2_000_000,
    ],
    ids=lambda instructions: ascii(instructions[:2]),
)
def test_a_program_that_would_run_for_seconds_is_refused(instructions):
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than arrays"):
        load_plain(pickle.PROTO + b"\x04" + instructions + pickle.STOP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_arrays_may_be_larger_than_all_that_is_plain():
    numbers = np.zeros(1_000_000, np.float32)
    read = load_plain(dumped({"one": numbers, "other": numbers}))
    assert len(read["other"]) == len(numbers)
