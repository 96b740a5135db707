"""The claim of a login: to be somebody enrolled, or, unknowingly, a decoy.

Whoever guesses names must not learn which of them exist. An unknown name therefore behaves as
somebody enrolled does, in all that can be seen from outside: which encoder judges it, whether a
passphrase or a fresh phrase is asked for, and how long that takes. Only the voice is nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass

from membrane.store.gallery import Gallery
from membrane.store.names import canonical_name, keyed_number
from membrane.store.voiceprint import Voiceprint


@dataclass(frozen=True, eq=False)
class Claim:
    """Whom a login claims to be.

    Parameters
    ----------
    name : str
        As it was claimed, in its canonical form: the one that is stored may differ in its letters'
        case, and would tell that there is one.
    person : Voiceprint or None
        Somebody enrolled of that name.
    model : Voiceprint or None
        Whom the login is led like: the person, or, for an unknown name, somebody else who is
        enrolled. None where nobody is.
    """

    name: str
    person: Voiceprint | None
    model: Voiceprint | None

    @classmethod
    def to_be(cls, person: Voiceprint) -> Claim:
        """Return the claim of somebody who is known to be enrolled."""
        return cls(person.name, person, person)

    @property
    def encoder(self) -> str:
        """Name of the encoder that judges the voice; empty where any may."""
        return self.model.encoder if self.model else ""

    @property
    def passphrase(self) -> str:
        """The phrase of one's own that is asked for; empty for a fresh one."""
        return self.model.passphrase if self.model else ""

    @property
    def recordings(self) -> tuple[bytes, ...]:
        """Fingerprints of the recordings of the enrolment."""
        utterances = self.model.utterances if self.model else ()
        return tuple(one.fingerprint for one in utterances if one.fingerprint)


def claim_of(name: str, gallery: Gallery, *, secret: bytes) -> Claim:
    """Return the claim of a login.

    Parameters
    ----------
    secret : bytes
        Of the database: whoever does not know it cannot foretell whom an unknown name is led like.

    Raises
    ------
    InvalidName, StoreError
    """
    claimed = canonical_name(name)
    # Both rows are looked up and read for every name, so that it takes as long for each.
    row = gallery.index_of(claimed)
    near = gallery.row_near(keyed_number(secret, claimed, purpose="model"))
    other = None if near is None else gallery.voiceprint(near)
    person = None if row is None else gallery.voiceprint(row)
    return Claim(claimed, person, person or other)
