"""Read a joblib file without running anything that it asks for.

A pickle is a program: whoever reads one with `joblib.load` does what it says. This reader knows
only the instructions and the three classes that `joblib.dump` needs for plain values and numeric
arrays, and even those classes are inert stand-ins here; so a hostile file can choose values, and
nothing else. In particular an array of objects, which joblib reads through a nested pickle, is
refused by its type.

It also costs less than joblib, whose import takes 60 ms of CPU, and it maps all arrays from one
open file: joblib opens the path anew for each, so that a file replaced in between would be read
half old, half new.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from membrane.system.checks import require

MALFORMED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)
"""What reading a malformed pickle raises."""

HARMLESS_INSTRUCTIONS = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.MEMOIZE),
    *(pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.SHORT_BINUNICODE, pickle.BINUNICODE),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.TUPLE),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT),
    pickle.STACK_GLOBAL,
)
"""Instructions that only push values; those that call something are defined below."""

MOST_PLAIN_BYTES = 1 << 20
"""Bytes outside of the arrays: a database of two encoders has some 3,000. Each of them can be an
instruction; of ten times as many a small file could take three seconds and a gigabyte."""

ARRAY_TYPES = {"f4": np.float32, "i8": np.int64, "u1": np.uint8, "u2": np.uint16, "u8": np.uint64}


def _text(value: object) -> str:
    # What is looked up must be text: the hash of a tuple that nests deeply enough overflows the
    # C stack.
    require(type(value) is str, "it has something else where text belongs")
    return str(value)


class _Dtype:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: str, align: bool, copy: bool) -> None:
        self.code = _text(code)
        self.byte_order = "|"


class _Ndarray:
    """Stands for `numpy.ndarray`, which a file names but never makes."""


class _ArrayHeader:
    """Stands for joblib's `NumpyArrayWrapper`, which goes before the bytes of an array."""


STAND_INS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Ndarray,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _ArrayHeader,
}


def load_plain(memory: mmap.mmap | bytes) -> object:
    """Return what a joblib file holds: plain values, and arrays that are views of `memory`.

    Parameters
    ----------
    memory : mmap.mmap or bytes
        The whole file.

    Raises
    ------
    Exception
        One of `MALFORMED`, if the file is truncated, foreign, compressed, or asks for anything
        but plain values and numeric arrays.
    """
    require(memory[:2] == pickle.PROTO + b"\x04", "it is not an uncompressed joblib file")
    unpickler = _PlainUnpickler(memory)
    value = unpickler.load()
    require(unpickler.stream.tell() == len(memory), "something follows its end")
    return value


class _Measured:
    """What the plain values are read from, as far as they may reach."""

    def __init__(self, stream: io.BytesIO | mmap.mmap) -> None:
        self._stream = stream
        self._left = MOST_PLAIN_BYTES

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer at the end of the file."""
        self._left -= size
        require(size >= 0 and self._left >= 0, "it holds more than arrays and their names")
        return self._stream.read(size)

    def readline(self) -> bytes:
        """Refuse a line: no instruction that is known reads one."""
        raise ValueError("it has a line where bytes belong")


class _PlainUnpickler(pickle._Unpickler):
    """Python's own unpickler with most of its instructions taken away."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in HARMLESS_INSTRUCTIONS
    }

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, memory: mmap.mmap | bytes) -> None:
        self.memory = memory
        self.stream = io.BytesIO(memory) if isinstance(memory, bytes) else memory
        super().__init__(_Measured(self.stream))

    def find_class(self, module: str, name: str) -> type:
        stand_in = STAND_INS.get((module, name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'[:60]!r}")
        return stand_in

    def _set_items(self) -> None:
        items = self.pop_mark()
        mapping = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            require(type(mapping) is dict, "it changes an object that is not an array")
            mapping[_text(key)] = value

    def _make_header(self) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        is_header = made is _ArrayHeader and arguments == ()
        require(is_header, "it makes an object that is not an array")
        self.stack.append(_ArrayHeader())

    def _make_dtype(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        require(called is _Dtype, "it calls something")
        self.stack.append(_Dtype(*arguments))

    def _complete(self) -> None:
        state, made = self.stack.pop(), self.stack.pop()
        if type(made) is _Dtype:
            made.byte_order = _text(state[1])
            self.stack.append(made)
        else:
            require(type(made) is _ArrayHeader, "it changes an object that is not an array")
            self.stack.append(self._array(state))

    def _array(self, header: dict[str, Any]) -> npt.NDArray[Any]:
        """Return the array whose bytes follow, after a byte that counts the padding."""
        shape, dtype = header["shape"], header["dtype"]
        is_known = header["subclass"] is _Ndarray and header["order"] == "C"
        require(is_known, "it has an array of an unknown kind")
        is_shape = all(type(length) is int and length >= 0 for length in shape)
        require(len(shape) <= 2 and is_shape, "it has an array of an impossible shape")
        number_type = np.dtype(ARRAY_TYPES[dtype.code])
        is_ours = dtype.byte_order in {"|", number_type.str[0]}
        require(is_ours, "it comes from a machine of another byte order")
        count = math.prod(shape)
        start = self.stream.tell() + 1 + self.stream.read(1)[0]
        end = start + count * number_type.itemsize
        if end > len(self.memory):
            raise EOFError("it is truncated")
        self.stream.seek(end)
        array = np.frombuffer(self.memory, number_type, count, start).reshape(shape)
        # That of a mapped file is read-only anyway; that of a decrypted one could be written to.
        array.flags.writeable = False
        return array

    dispatch[pickle.SETITEMS[0]] = _set_items
    dispatch[pickle.NEWOBJ[0]] = _make_header
    dispatch[pickle.REDUCE[0]] = _make_dtype
    dispatch[pickle.BUILD[0]] = _complete
