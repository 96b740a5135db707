"""Where the key of an encrypted database comes from: keyring, environment or passphrase.

Conventions
-----------
The *master key* is 32 bytes, from which every key that encrypts anything is derived
(`membrane.protection.sealing`). Its *origin* stands in the file and says how to get it: it is no
secret. Nothing is asked or told here: a passphrase comes from the function that is given.
"""

from __future__ import annotations

import binascii
import os
import secrets
import unicodedata
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from threading import RLock
from typing import Any

from membrane.errors import UsageError, WrongKey
from membrane.system.checks import require

Ask = Callable[[str], str]
"""Shows a question where only whoever sits there can answer, unseen; returns the answer."""

SOURCES = ("keyring", "environment", "passphrase")

KEY_BYTES = 32
"""AES-256, and what HMAC-SHA-256 is as strong as."""

VARIABLE = "MEMBRANE_KEY"
NEW_VARIABLE = "MEMBRANE_NEW_KEY"
"""Where the key is that follows the one of `VARIABLE`: while both are needed, both are there."""

LEAST_PASSPHRASE = 15
"""Characters of a new passphrase: NIST SP 800-63B-4, section 3.1.1.2, of a password that stands
alone. Whoever has a copy of the file can guess as fast as they like, so no fewer."""

SCRYPT_COST = 2**17
SCRYPT_BLOCK = 8
SCRYPT_PARALLEL = 1
"""128 MiB and a third of a second for each guess: what the OWASP Password Storage Cheat Sheet asks
of scrypt (RFC 7914)."""

MOST_SCRYPT_BYTES = 2**30
"""What a file may ask for at most (128 times the cost times the block, RFC 7914, section 2): a
hostile one must not take all memory."""

SALT_BYTES = 16
"""As RFC 5869 and NIST SP 800-132, section 5.1, ask: never the same twice."""

MAKE_ONE = f"make one with `openssl rand -hex 32` and set {VARIABLE} to what it prints"


SERVICE = "membrane"
"""What the keys are filed under."""

SET_UP = (
    "log in to the desktop or unlock its keyring; on a machine without one install gnome-keyring "
    "and run `dbus-run-session -- sh`, in it `gnome-keyring-daemon --unlock`, or protect the "
    "database with a passphrase (--key passphrase) or MEMBRANE_KEY (--key environment) instead"
)

LONGEST_REASON = 100
"""Characters of what a backend says of a failure."""


@dataclass(frozen=True)
class Origin:
    """Where a master key comes from.

    Parameters
    ----------
    source : {"keyring", "environment", "passphrase"}
    id : str
        32 hexadecimal digits: another one for every key.
    database : str
        32 hexadecimal digits: another one for every database, the same for all its keys.
    salt : str
        Hexadecimal, of a passphrase.
    cost, block, parallel : int
        The N, r and p of scrypt, of a passphrase.

    Raises
    ------
    ValueError
        If that is none.
    """

    source: str
    id: str
    database: str
    salt: str = ""
    cost: int = 0
    block: int = 0
    parallel: int = 0

    def __post_init__(self) -> None:
        require(self.source in SOURCES, "its key comes from nowhere")
        lengths = {len(bytes.fromhex(number)) for number in (self.id, self.database)}
        require(lengths == {SALT_BYTES}, "its key has no number")
        if self.source == "passphrase":
            require(self._can_be_derived(), "its key is derived in an impossible way")
            bytes.fromhex(self.salt)

    def _can_be_derived(self) -> bool:
        numbers = (self.cost, self.block, self.parallel)
        return (
            all(type(number) is int and number >= 1 for number in numbers)
            and self.cost > 1
            and self.cost.bit_count() == 1
            and 128 * self.cost * self.block * self.parallel <= MOST_SCRYPT_BYTES
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value}


_kept: dict[Origin, bytes] = {}
"""What was asked for once in this process is not asked for again."""


_asking = RLock()


@contextmanager
def asked_once(origin: Origin) -> Iterator[None]:
    """Let other threads wait while one finds out the key, unless it is kept already."""
    with nullcontext() if origin in _kept else _asking:
        yield


def _forked() -> None:
    """Let a child of a fork ask: a thread that asks in its parent is not there."""
    global _asking  # noqa: PLW0603
    _asking = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def keep(origin: Origin, key: bytes) -> None:
    """Remember a key that has proved to be the right one, until the process ends."""
    _kept[origin] = key


def forget() -> None:
    """Forget all keys that were kept."""
    _kept.clear()


def master_key(origin: Origin, ask: Ask | None = None) -> bytes:
    """Return the 32 bytes of a key; whether it is the right one shows where it is used.

    Parameters
    ----------
    origin : Origin
    ask : callable, optional
        Gets a passphrase; without it nobody can be asked.

    Raises
    ------
    WrongKey
        If the key is not there, with how to get it there.
    UsageError
        If `MEMBRANE_KEY` is no key.
    """
    if origin in _kept:
        return _kept[origin]
    if origin.source == "keyring":
        return _from_keyring(origin.id)
    if origin.source == "environment":
        if VARIABLE not in os.environ:
            raise WrongKey(
                f"the voiceprint database is encrypted under the key of {VARIABLE}, which is not "
                "set: set it"
            )
        return _from_environment(VARIABLE)
    if ask is None:
        raise WrongKey(
            "the voiceprint database is encrypted under a passphrase, which nobody can be asked "
            f"for here: use a terminal, or protect it again with a keyring or {VARIABLE}"
        )
    return _derived(_asked(ask, "Passphrase of the voiceprint database: "), origin)


def new_key(
    source: str, ask: Ask | None = None, *, follows: Origin | None = None
) -> tuple[Origin, bytes]:
    """Return a new key and where it comes from.

    A key of a keyring is in the keyring when this returns.

    Parameters
    ----------
    source : {"keyring", "environment", "passphrase"}
    ask : callable, optional
        Gets a new passphrase, twice.
    follows : Origin, optional
        The key that the database has: then the new one of the environment is in
        `MEMBRANE_NEW_KEY`.

    Raises
    ------
    UsageError
        If there is no such source, the variable holds no key, nobody can be asked, or the
        passphrase is too short or was mistyped.
    WrongKey
        If there is no keyring.
    """
    if source not in SOURCES:
        raise UsageError(f"no key comes from {source!r}: choose from {', '.join(SOURCES)}")
    scrypt: dict[str, Any] = {
        "salt": secrets.token_hex(SALT_BYTES),
        "cost": SCRYPT_COST,
        "block": SCRYPT_BLOCK,
        "parallel": SCRYPT_PARALLEL,
    }
    origin = Origin(
        source,
        id=secrets.token_hex(SALT_BYTES),
        database=follows.database if follows else secrets.token_hex(SALT_BYTES),
        **(scrypt if source == "passphrase" else {}),
    )
    if source == "environment":
        return origin, _from_environment(NEW_VARIABLE if follows else VARIABLE)
    if source == "keyring":
        key = secrets.token_bytes(KEY_BYTES)
        keep_secret(origin.id, key.hex())
        return origin, key
    return origin, _derived(_new_passphrase(ask), origin)


def discard(origin: Origin) -> None:
    """Take a key that nothing needs any more out of the keyring, if it can be reached."""
    _kept.pop(origin, None)
    if origin.source == "keyring":
        forget_secret(origin.id)


def _from_keyring(number: str) -> bytes:
    key = _key_in(secret_of(number))
    if key is None:
        raise WrongKey("what the system keyring has is no key: find out who changed it there")
    return key


def _from_environment(variable: str) -> bytes:
    make_one = MAKE_ONE.replace(VARIABLE, variable)
    if not os.environ.get(variable):
        raise UsageError(f"{variable} is not set: {make_one}")
    key = _key_in(os.environ[variable].strip())
    if key is None:
        raise UsageError(
            f"{variable} is not a key of 64 hexadecimal digits or of 32 bytes in base64: "
            + make_one
        )
    return key


def _key_in(text: str) -> bytes | None:
    """Return the 32 bytes that a text stands for, in hexadecimal or in base64."""
    for read in (bytes.fromhex, lambda text: b64decode(text, validate=True)):
        try:
            key = read(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == KEY_BYTES:
            return key
    return None


def _new_passphrase(ask: Ask | None) -> str:
    if ask is None:
        raise UsageError("a new passphrase is asked for at a terminal: use one")
    passphrase = _asked(ask, "New passphrase of the voiceprint database: ")
    if len(passphrase) < LEAST_PASSPHRASE:
        raise UsageError(
            f"a passphrase of {len(passphrase)} characters can be guessed by whoever has the "
            f"file: use {LEAST_PASSPHRASE} or more, such as five words picked by dice"
        )
    if _asked(ask, "The same again: ") != passphrase:
        raise UsageError("these were two passphrases: type the same one twice")
    return passphrase


def _asked(ask: Ask, question: str) -> str:
    try:
        return ask(question)
    except EOFError:
        raise WrongKey("no passphrase was typed: try again") from None


def _derived(passphrase: str, origin: Origin) -> bytes:
    """Return the key of a passphrase, typed on whatever keyboard (NFKC, SP 800-63B-4)."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    scrypt = Scrypt(
        bytes.fromhex(origin.salt), KEY_BYTES, origin.cost, origin.block, origin.parallel
    )
    try:
        return scrypt.derive(
            unicodedata.normalize("NFKC", passphrase).encode(errors="surrogateescape")
        )
    except MemoryError:
        raise WrongKey(
            "there is not enough memory to derive the key of the voiceprint database from a "
            "passphrase: close other programs"
        ) from None


# ---- The system's keyring, where a desktop keeps secrets for whoever is logged in


def secret_of(number: str) -> str:
    """Return a secret that the keyring keeps.

    Parameters
    ----------
    number : str
        The user that it is filed under.

    Raises
    ------
    WrongKey
        If there is none of that number, or no keyring, with how to set one up.
    """
    with _Keyring() as keyring:
        secret: str | None = keyring.get_password(SERVICE, number)
    if secret is None:
        raise WrongKey(
            f"the system keyring does not have the key of the voiceprint database (service "
            f"{SERVICE!r}, user {number!r}): log in as whoever protected it"
        )
    return secret


def keep_secret(number: str, secret: str) -> None:
    """Give a secret to the keyring, and see that it kept it.

    Raises
    ------
    WrongKey
        If it did not, or there is none.
    """
    with _Keyring() as keyring:
        keyring.set_password(SERVICE, number, secret)
        kept = keyring.get_password(SERVICE, number)
    # Some backends forget everything, on purpose.
    if kept != secret:
        raise WrongKey(f"the system keyring did not keep the key: {SET_UP}")


def forget_secret(number: str) -> None:
    """Take a secret that nothing needs any more out of the keyring, if it can be reached."""
    with suppress(WrongKey), _Keyring() as keyring:
        keyring.delete_password(SERVICE, number)


class _Keyring:
    """The keyring library; every failure inside the `with` is a `WrongKey` with the remedy."""

    def __enter__(self) -> Any:
        import keyring

        return keyring

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        # A backend is code of whatever kind, over whatever bus: it may raise anything.
        if kind is not None and issubclass(kind, Exception):
            raise WrongKey(
                f"no system keyring can be used ({_reason(error, kind)}): {SET_UP}"
            ) from None


def _reason(error: object, kind: type[BaseException]) -> str:
    return (" ".join(str(error).split()) or kind.__name__)[:LONGEST_REASON].split(". ")[0]
