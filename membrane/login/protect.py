"""Protecting the voiceprints that are stored: encrypted, and turned so that they can be revoked.

Every change is made of steps that each replace one file whole. While files beside the database are
still under the former key, or plain, the database's own header says so: a kill at any moment
leaves a database that opens, before the change or after it, and running the same command again
finishes it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from membrane.errors import StoreLocked, UsageError
from membrane.protection import keys
from membrane.protection.keys import Ask
from membrane.protection.sealing import Seal
from membrane.store.columns import Columns
from membrane.store.database_file import Content
from membrane.store.store import Store
from membrane.voice.projection import Projection

EPOCH_BYTES = 16
"""Of an epoch's number: never the same twice."""

PURPOSE = "projection"

Reseal = Callable[[Seal | None, Seal | None], None]
"""Gets what a file beside the database is sealed with, and seals it with the other; None: plain."""


@dataclass(frozen=True)
class Protection:
    """How a database is protected.

    Parameters
    ----------
    people : int
        How many people are enrolled.
    source : str
        Where the key comes from; empty for a plain database.
    epoch : str
        Number of the projection; empty for none.
    memory_locked : bool
        Never: what is decrypted may be written to a swap file, as samples and vectors may.
    finished : bool
        Whether no change was interrupted.
    """

    people: int
    source: str
    epoch: str
    memory_locked: bool
    finished: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def projection_of(seal: Seal | None, epoch: str) -> Projection | None:
    """Return what the voiceprints of a database are turned by; None if they are not.

    Parameters
    ----------
    seal : Seal or None
        `Store.seal`.
    epoch : str
        `Store.epoch`.
    """
    return Projection.of(seal.mac_key(PURPOSE), epoch) if seal and epoch else None


def status(store: Store) -> Protection:
    """Return how a database is protected.

    Raises
    ------
    StoreError
        If it cannot be read.
    """
    content = store.content()
    seal = content.seal
    return Protection(
        people=len(content.columns),
        source=seal.origin.source if seal else "",
        epoch=content.columns.epoch,
        memory_locked=False,
        finished=_settled(seal),
    )


def protect(
    store: Store, source: str, *, ask: Ask | None = None, others: Sequence[Reseal] = ()
) -> None:
    """Encrypt a plain database, and turn its voiceprints; or finish what was interrupted.

    Parameters
    ----------
    source : {"keyring", "environment", "passphrase"}
        Where the key comes from.
    ask : callable, optional
        Gets a new passphrase.
    others : sequence of callable
        Seal the other files of the database.

    Raises
    ------
    UsageError
        If it is protected already, or there is no such key.
    StoreError
    """
    if store.seal is not None:
        if _settled(store.seal):
            raise UsageError(
                "the voiceprint database is protected already: use --rekey for another key"
            )
        _settle(store, others)
        return
    origin, key = keys.new_key(source, ask)
    _change(store, None, Seal(key, origin, accepts_plain=True))
    _settle(store, others)


def rekey(
    store: Store, source: str, *, ask: Ask | None = None, others: Sequence[Reseal] = ()
) -> None:
    """Encrypt a database under a new key, and turn its voiceprints by that.

    Parameters as of `protect`; the new key of the environment is in `MEMBRANE_NEW_KEY`.

    Raises
    ------
    UsageError
        If the database is not protected, or there is no such key.
    StoreError
    """
    old = _sealed(store, others)
    origin, key = keys.new_key(source, ask, follows=old.origin)
    _change(store, old, Seal(key, origin, former=old.key))
    _settle(store, others)
    keys.discard(old.origin)


def renew(store: Store, *, others: Sequence[Reseal] = ()) -> None:
    """Turn the voiceprints of a protected database anew: a copy of the old ones matches nobody.

    Parameters as of `protect`.

    Raises
    ------
    UsageError
        If the database is not protected.
    StoreError
    """
    seal = _sealed(store, others)
    _change(store, seal, seal)


def unprotect(store: Store, *, others: Sequence[Reseal] = ()) -> None:
    """Write a protected database in the clear, its voiceprints as the encoder made them.

    Parameters as of `protect`.

    Raises
    ------
    UsageError
        If the database is not protected.
    StoreError
    """
    seal = _sealed(store, others)
    opening = replace(seal, accepts_plain=True)
    _change(store, seal, opening, turning=False)
    _reseal(others, opening, None)
    _change(store, opening, None)
    # Whoever logged in meanwhile sealed them again.
    _reseal(others, opening, None)
    keys.discard(seal.origin)


def _sealed(store: Store, others: Sequence[Reseal]) -> Seal:
    """Return the seal of a protected database, after finishing what was interrupted."""
    seal = store.seal
    if seal is None:
        raise UsageError("the voiceprint database is not protected: run `membrane protect` first")
    return seal if _settled(seal) else _settle(store, others)


def _settled(seal: Seal | None) -> bool:
    return seal is None or not (seal.former or seal.accepts_plain)


def _settle(store: Store, others: Sequence[Reseal]) -> Seal:
    """Seal the other files like the database, then forget what they were before; return the seal.

    The database was just written under this seal, or is one whose change was interrupted.
    """
    changing = store.seal
    if changing is None:
        raise _meanwhile()
    settled = replace(changing, former=b"", accepts_plain=False)
    _reseal(others, changing, settled)
    _change(store, changing, settled, turning=False)
    return settled


def _reseal(others: Sequence[Reseal], old: Seal | None, new: Seal | None) -> None:
    for reseal in others:
        reseal(old, new)


def _change(store: Store, old: Seal | None, new: Seal | None, *, turning: bool = True) -> None:
    """Write the database under another seal, its voiceprints turned into those of a new epoch."""

    def changed(content: Content) -> tuple[Columns, Seal | None]:
        if not _same(content.seal, old):
            raise _meanwhile()
        return (_of_new_epoch(content, new) if turning else content.columns), new

    if new is not None:
        # Whatever its source, nobody is asked for it again.
        keys.keep(new.origin, new.key)
    store.reprotect(changed)


def _same(one: Seal | None, other: Seal | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.origin == other.origin and _settled(one) == _settled(other)


def _of_new_epoch(content: Content, seal: Seal | None) -> Columns:
    """Return the columns turned from the space that they are in into a new one of that seal."""
    epoch = secrets.token_hex(EPOCH_BYTES) if seal else ""
    old = projection_of(content.seal, content.columns.epoch)
    new = projection_of(seal, epoch)
    if old is None or new is None:
        turn = new.turn if new else old.back if old else np.array
    else:
        turn = old.to(new).turn
    return content.columns.turned(turn, epoch)


def _meanwhile() -> StoreLocked:
    return StoreLocked("another process changed how the database is protected: try again")
