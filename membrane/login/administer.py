"""What whoever owns the database does with people, without their voice.

Every change is written into the decision log, by the number of the person, never by a name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from membrane.errors import UsageError
from membrane.login import protect as protection
from membrane.login.guard import ANYONE, LOG_KEY
from membrane.login.membrane import Membrane
from membrane.login.protect import Protection
from membrane.protection.keys import Ask
from membrane.protection.sealing import Seal
from membrane.store.log.check import LogCheck
from membrane.store.ownership import require_owner
from membrane.store.store import Log
from membrane.store.voiceprint import Voiceprint


def exported(membrane: Membrane, name: str) -> dict[str, Any]:
    """Return all that is kept of somebody, as JSON values: access, in the words of the GDPR.

    Raises
    ------
    UnknownName, InvalidName, StoreError
    """
    person = membrane.known(name)
    entries = [one for one in membrane.guard.log.entries() if one.get("who") == person.id]
    logins = membrane.guard.attempts.state_of(person.name)
    return {**person.as_json(), "logins": logins, "log": entries}


def erasable(membrane: Membrane, name: str) -> Voiceprint:
    """Return somebody whom this user may erase.

    Raises
    ------
    UnknownName, InvalidName, NotTheOwner, StoreError
    """
    person = membrane.known(name)
    require_owner(membrane.store.path)
    return person


def delete(membrane: Membrane, person: Voiceprint) -> None:
    """Erase somebody whom `erasable` has returned, and what was remembered of their logins.

    Their lines in the log stay, and are nobody's: the number that stood for them was kept in the
    voiceprint alone.

    Raises
    ------
    UnknownName, StoreError
    """
    membrane.store.delete(person.name)
    membrane.guard.forget(person.name)
    membrane.guard.record("deleted", person.id)


def clear(membrane: Membrane) -> int:
    """Erase everybody; return how many they were.

    Raises
    ------
    NotTheOwner, StoreError
    """
    require_owner(membrane.store.path)
    people = membrane.store.clear()
    membrane.guard.attempts.clear()
    membrane.guard.record("cleared", "everybody", people=people)
    return people


def unlock(membrane: Membrane, name: str | None) -> bool:
    """Let somebody try again at once; return whether they had failed.

    Parameters
    ----------
    name : str or None
        None for logins that claim no name, but say a passphrase.

    Raises
    ------
    InvalidName, NotTheOwner, StoreError
    """
    require_owner(membrane.store.path)
    claim = ANYONE if name is None else membrane.claim(name)
    had_failed = membrane.guard.attempts.unlock(claim.name)
    membrane.guard.record("unlocked", membrane.guard.who(claim))
    return had_failed


def revert(membrane: Membrane, name: str) -> Voiceprint:
    """Take back what logins added to somebody's voiceprint.

    Raises
    ------
    UnknownName, InvalidName, NotTheOwner, StoreError
    UsageError
        If there is nothing to take back.
    """
    from membrane.login.adapt import without_adaptation

    person = membrane.known(name)
    require_owner(membrane.store.path)
    if not any(one.adapted for one in person.utterances):
        raise UsageError(f"no login has added anything to {person.name}'s voiceprint")
    changed = membrane.store.update(person.name, without_adaptation)
    membrane.guard.record("adaptation taken back", person.id)
    return changed


def checked_log(membrane: Membrane) -> LogCheck:
    """Return what is wrong with the decision log; none at all is wrong where people are enrolled.

    Raises
    ------
    StoreError
    """
    check = membrane.guard.log.verify()
    if check.lines or check.problems or not len(membrane.store.gallery()):
        return check
    missing = "there is no log: it was deleted, or nothing was done since Membrane keeps one"
    return replace(check, problems=(missing,))


def protect(
    membrane: Membrane, change: str, *, source: str | None = None, ask: Ask | None = None
) -> Protection:
    """Encrypt the database, change its key, turn its voiceprints anew, or take all that back.

    Parameters
    ----------
    change : {"protect", "rekey", "renew", "unprotect"}
        What to do.
    source : {"keyring", "environment", "passphrase"}
        Where a new key comes from; by default a keyring, or where the old one came from.
    ask : callable, optional
        Gets a new passphrase.

    Raises
    ------
    UsageError, NotTheOwner, StoreError
    """
    require_owner(membrane.store.path)
    store, others = membrane.store, (_Logins(membrane), _Log(membrane, change))
    if change == "protect":
        protection.protect(store, source or "keyring", ask=ask, others=others)
    elif change == "rekey":
        present = store.seal.origin.source if store.seal else "keyring"
        protection.rekey(store, source or present, ask=ask, others=others)
    elif change == "renew":
        protection.renew(store, others=others)
        membrane.guard.record("renewed", "everybody")
    else:
        protection.unprotect(store, others=others)
    return protection.status(store)


@dataclass(frozen=True)
class _Logins:
    """Seals failures and recent logins like the database."""

    membrane: Membrane

    def __call__(self, old: Seal | None, new: Seal | None) -> None:
        self.membrane.store.login_state(old).reseal(new)


@dataclass(frozen=True)
class _Log:
    """Lets the database's key stamp the lines of the decision log."""

    membrane: Membrane
    change: str

    def __call__(self, old: Seal | None, new: Seal | None) -> None:
        log = self.membrane.guard.log
        renewed = log.stamped_with(_stamp(new))
        entry = {"event": self.change, "who": "everybody"}
        if not log.exists():
            renewed.append(entry)
        # A change that was interrupted may have handed the log over already.
        if _is_whole(renewed):
            return
        older = [_stamp(seal) for seal in (old, _former(old)) if seal is not None]
        if old is None or old.accepts_plain:
            # Only then: where there was a key, lines that nobody stamped are no proof.
            older.append(None)
        logs = [log.stamped_with(key) for key in older]
        present = next(filter(_is_whole, logs), logs[-1])
        present.hand_over(_stamp(new), entry)


def _former(seal: Seal | None) -> Seal | None:
    return Seal(seal.former, seal.origin) if seal is not None and seal.former else None


def _is_whole(log: Log) -> bool:
    return not log.verify().problems


def _stamp(seal: Seal | None) -> bytes | None:
    return None if seal is None else seal.mac_key(LOG_KEY)
