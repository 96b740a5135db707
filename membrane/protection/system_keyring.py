"""The system's keyring: where a desktop keeps secrets for whoever is logged in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from membrane.errors import WrongKey

SERVICE = "membrane"
"""What the keys are filed under."""

SET_UP = (
    "log in to the desktop or unlock its keyring; on a machine without one install gnome-keyring "
    "and run `dbus-run-session -- sh`, in it `gnome-keyring-daemon --unlock`, or protect the "
    "database with a passphrase (--key passphrase) or MEMBRANE_KEY (--key environment) instead"
)

LONGEST_REASON = 100
"""Characters of what a backend says of a failure."""


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
