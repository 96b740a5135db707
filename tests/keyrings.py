"""A keyring in the memory of a test, of the keyring library's own kind."""

from contextlib import contextmanager

import keyring
from keyring.backend import KeyringBackend


class Chest(KeyringBackend):
    """Keeps what it is given as long as it lives."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.secrets = {}

    def get_password(self, service, username):
        return self.secrets.get((service, username))

    def set_password(self, service, username, password):
        self.secrets[service, username] = password

    def delete_password(self, service, username):
        del self.secrets[service, username]


@contextmanager
def system_keyring(backend):
    """Put a backend in the place of the system's keyring."""
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    try:
        yield backend
    finally:
        keyring.set_keyring(before)
