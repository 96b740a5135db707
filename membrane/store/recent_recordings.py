"""The recordings that people were let in with lately, as fingerprints: a file for each person."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from pathlib import Path

from membrane.errors import StoreUnreadable, StoreUnwritable
from membrane.store.guarded_file import GuardedFile, Seals
from membrane.store.safe_files import make_folder

REMEMBERED = 20
"""Recordings that are remembered of each person, a month of logins on working days: 80 kB."""

WHAT = "the record of recent recordings"

KEY = re.compile(r"[0-9a-f]{32}")
"""What stands for a name, and is the name of the file."""


class RecentRecordings:
    """The fingerprints of the last recordings that were accepted, by what stands for a name.

    Parameters
    ----------
    folder : Path
        Made when something is remembered, for its owner only.
    like : Path
        The file whose owner all of it belongs to, when an administrator writes it.
    """

    def __init__(self, folder: Path, *, like: Path) -> None:
        self._folder = folder
        self._like = like

    def of(self, key: str, seal: Seals | None) -> tuple[bytes, ...]:
        """Return those of a name, the latest at the end.

        Raises
        ------
        StoreError
            If they cannot be read.
        """
        file = self._file(key)
        content = file.read(seal)
        if content is None:
            return ()
        try:
            return tuple(b64decode(one, validate=True) for one in _texts(content))
        except ValueError:
            raise file.damaged("its content makes no sense") from None

    def append(self, key: str, fingerprint: bytes, seal: Seals | None) -> None:
        """Remember one more of a name; the caller holds a lock.

        Raises
        ------
        StoreError
            If it cannot be kept.
        """
        recordings = [*self.of(key, seal), fingerprint][-REMEMBERED:]
        self._make_folder()
        content = json.dumps([b64encode(one).decode() for one in recordings])
        self._file(key).write(content.encode(), seal)

    def forget(self, key: str) -> None:
        """Erase those of a name; the caller holds a lock.

        Raises
        ------
        StoreUnwritable
            If they cannot be erased.
        """
        self._file(key).remove()

    def clear(self) -> None:
        """Erase those of every name; the caller holds a lock.

        Raises
        ------
        StoreUnwritable
            If they cannot be erased.
        """
        for file in self._files():
            file.remove()

    def reseal(self, old: Seals | None, new: Seals | None) -> None:
        """Write all files anew, under another key; the caller holds a lock.

        Raises
        ------
        StoreError
            If one cannot be read or written.
        """
        for file in self._files():
            file.reseal(old, new)

    def _files(self) -> list[GuardedFile]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnreadable(
                f"{WHAT} {self._folder} cannot be read ({error.strerror}): "
                "check its permissions and its disk"
            ) from None
        return [self._file(name) for name in names if KEY.fullmatch(name)]

    def _file(self, key: str) -> GuardedFile:
        return GuardedFile(
            self._folder / key,
            what=WHAT,
            # One person's file put in another's place is refused.
            purpose=f"recent recordings {key}",
            if_deleted="forgets the recordings of one person's last logins",
            like=self._like,
        )

    def _make_folder(self) -> None:
        try:
            make_folder(self._folder, like=self._like)
        except OSError as error:
            raise StoreUnwritable(
                f"{WHAT} {self._folder} cannot be made ({error.strerror}): "
                "check the permissions of its folder"
            ) from None


def _texts(content: bytes) -> list[str]:
    """Return a list of texts that was kept as JSON, or raise a `ValueError`."""
    try:
        texts = json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise ValueError("it is no list of texts")
    return texts
