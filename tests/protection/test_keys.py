import base64
import time
from contextlib import ExitStack
from types import SimpleNamespace

import keyring
import pytest
from keyring.errors import KeyringLocked

from membrane.errors import UsageError, WrongKey
from membrane.protection import keys
from membrane.protection.keys import Origin, discard, forget, keep, master_key, new_key
from tests.keyrings import Chest, system_keyring

KEY = bytes(range(32))
NUMBER = "ab" * 16
LONG = "correct horse battery staple"


class Forgetful(Chest):
    def set_password(self, service, username, password):
        pass


class Locked(Chest):
    def get_password(self, service, username):
        raise KeyringLocked("Failed to unlock the collection!")


class Crashing(Chest):
    def get_password(self, service, username):
        raise ZeroDivisionError("a bug\nof two lines")


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(keys, "SCRYPT_COST", 2**4)
    forget()
    yield
    forget()


@pytest.fixture
def with_keyring():
    """Return a function that puts a backend in the place of the system's."""
    with ExitStack() as used:
        yield lambda backend: used.enter_context(system_keyring(backend))


@pytest.fixture
def asked():
    """Answers questions, and remembers them."""
    record = SimpleNamespace(answers=[], questions=[])

    def ask(question):
        record.questions.append(question)
        return record.answers.pop(0)

    record.ask = ask
    return record


# The environment


@pytest.mark.parametrize(
    "text",
    [KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode(), f"  {KEY.hex()}\n"],
    ids=["hexadecimal", "capitals", "base64", "white space"],
)
def test_a_key_of_the_environment_is_hexadecimal_or_base64(monkeypatch, text):
    monkeypatch.setenv("MEMBRANE_KEY", text)
    assert master_key(Origin("environment", NUMBER, NUMBER)) == KEY
    origin, key = new_key("environment")
    assert (origin.source, key) == ("environment", KEY)


@pytest.mark.parametrize(
    "text",
    ["secret", "ab" * 31, "ab" * 33, "zz" * 32, base64.b64encode(KEY[:31]).decode(), "é" * 64],
    ids=ascii,
)
def test_what_is_no_key_is_refused_with_how_to_make_one(monkeypatch, text):
    monkeypatch.setenv("MEMBRANE_KEY", text)
    for use in (
        lambda: master_key(Origin("environment", NUMBER, NUMBER)),
        lambda: new_key("environment"),
    ):
        with pytest.raises(UsageError, match=r"not a key .*openssl rand -hex 32") as failure:
            use()
        assert text not in str(failure.value)


def test_a_variable_that_is_not_set_is_a_missing_key():
    with pytest.raises(WrongKey, match="MEMBRANE_KEY, which is not set"):
        master_key(Origin("environment", NUMBER, NUMBER))
    with pytest.raises(UsageError, match="make one"):
        new_key("environment")


def test_the_next_key_comes_from_a_variable_of_its_own(monkeypatch):
    monkeypatch.setenv("MEMBRANE_KEY", KEY.hex())
    monkeypatch.setenv("MEMBRANE_NEW_KEY", KEY[::-1].hex())
    first, _ = new_key("environment")
    assert new_key("environment", follows=first)[1] == KEY[::-1]
    monkeypatch.delenv("MEMBRANE_NEW_KEY")
    with pytest.raises(UsageError, match="set MEMBRANE_NEW_KEY to what it prints"):
        new_key("environment", follows=first)


def test_keys_of_one_database_are_numbered_apart_and_the_database_stays(monkeypatch):
    monkeypatch.setenv("MEMBRANE_KEY", KEY.hex())
    monkeypatch.setenv("MEMBRANE_NEW_KEY", KEY[::-1].hex())
    first, _ = new_key("environment")
    second, _ = new_key("environment", follows=first)
    other, _ = new_key("environment")
    assert first.database == second.database != other.database
    assert len({first.id, second.id, other.id}) == 3


# The keyring


def test_a_new_key_is_in_the_keyring_before_anything_is_encrypted_with_it(with_keyring):
    chest = with_keyring(Chest())
    origin, key = new_key("keyring")
    assert chest.secrets == {("membrane", origin.id): key.hex()}
    assert master_key(origin) == key
    assert new_key("keyring")[0].id != origin.id


def test_a_key_that_nothing_needs_any_more_is_taken_out(with_keyring):
    chest = with_keyring(Chest())
    origin, _ = new_key("keyring")
    discard(origin)
    assert chest.secrets == {}
    discard(origin)  # as when it cannot be reached: nothing depends on it any more


def test_a_keyring_of_somebody_else_lacks_the_key(with_keyring):
    with_keyring(Chest())
    with pytest.raises(WrongKey, match=f"user '{NUMBER}'.*log in as whoever protected it"):
        master_key(Origin("keyring", NUMBER, NUMBER))


def test_what_somebody_put_into_the_keyring_in_its_place_is_no_key(with_keyring):
    with_keyring(Chest()).set_password("membrane", NUMBER, "secret")
    with pytest.raises(WrongKey, match="is no key"):
        master_key(Origin("keyring", NUMBER, NUMBER))


@pytest.mark.parametrize("backend", [Locked, Crashing, keyring.backends.fail.Keyring])
def test_a_keyring_that_fails_says_in_one_line_how_to_set_one_up(with_keyring, backend):
    with_keyring(backend())
    for use in (lambda: master_key(Origin("keyring", NUMBER, NUMBER)), lambda: new_key("keyring")):
        with pytest.raises(WrongKey, match="gnome-keyring-daemon --unlock") as failure:
            use()
        assert len(str(failure.value).splitlines()) == 1


def test_a_keyring_that_forgets_is_noticed_before_anything_is_encrypted(with_keyring):
    with_keyring(Forgetful())
    with pytest.raises(WrongKey, match="did not keep the key"):
        new_key("keyring")


def test_an_interrupt_while_the_keyring_is_asked_stays_one(with_keyring):
    class Interrupted(Chest):
        def get_password(self, service, username):
            raise KeyboardInterrupt

    with_keyring(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        master_key(Origin("keyring", NUMBER, NUMBER))


# A passphrase


def test_a_passphrase_gives_the_same_key_again_and_another_one_another(asked):
    asked.answers = [LONG, LONG, LONG, "correct horse battery stable"]
    origin, key = new_key("passphrase", asked.ask)
    assert master_key(origin, asked.ask) == key
    assert master_key(origin, asked.ask) != key
    assert [question.split()[0] for question in asked.questions] == [
        *("New", "The", "Passphrase", "Passphrase")
    ]


def test_the_derivation_is_scrypt_as_rfc_7914_has_it():
    # Its second test vector, section 12, of which 32 of the 64 bytes are wanted here.
    origin = Origin("passphrase", NUMBER, NUMBER, b"NaCl".hex(), cost=1024, block=8, parallel=16)
    expected = "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
    assert master_key(origin, lambda _: "password").hex() == expected


def test_new_passphrases_cost_what_owasp_asks_for(monkeypatch):
    monkeypatch.undo()
    assert (keys.SCRYPT_COST, keys.SCRYPT_BLOCK, keys.SCRYPT_PARALLEL) == (2**17, 8, 1)


def test_the_same_letters_typed_on_another_keyboard_are_the_same_passphrase(asked):
    composed, decomposed = "pässwörter überall", "pa\u0308sswo\u0308rter u\u0308berall"
    asked.answers = [composed, composed, decomposed]
    origin, key = new_key("passphrase", asked.ask)
    assert master_key(origin, asked.ask) == key


def test_two_databases_of_one_passphrase_have_two_keys(asked):
    asked.answers = [LONG] * 4
    assert new_key("passphrase", asked.ask)[1] != new_key("passphrase", asked.ask)[1]


def test_a_short_or_mistyped_passphrase_is_refused(asked):
    asked.answers = ["fourteen chars", LONG, LONG + "r"]
    with pytest.raises(UsageError, match="15 or more"):
        new_key("passphrase", asked.ask)
    with pytest.raises(UsageError, match="two passphrases"):
        new_key("passphrase", asked.ask)


def test_without_somebody_to_ask_the_message_says_what_to_do():
    origin = Origin("passphrase", NUMBER, NUMBER, "00", cost=16, block=8, parallel=1)
    with pytest.raises(WrongKey, match="use a terminal"):
        master_key(origin)
    with pytest.raises(UsageError, match="at a terminal"):
        new_key("passphrase")


def test_no_answer_is_no_passphrase():
    def closed(_):
        raise EOFError

    origin = Origin("passphrase", NUMBER, NUMBER, "00", cost=16, block=8, parallel=1)
    with pytest.raises(WrongKey, match="no passphrase was typed"):
        master_key(origin, closed)


def test_a_passphrase_of_bytes_that_are_no_text_derives_a_key():
    origin = Origin("passphrase", NUMBER, NUMBER, "00", cost=16, block=8, parallel=1)
    assert len(master_key(origin, lambda _: "caf\udce9")) == 32


def test_a_key_that_proved_right_is_not_asked_for_again(asked):
    asked.answers = [LONG]
    origin = Origin("passphrase", NUMBER, NUMBER, "00", cost=16, block=8, parallel=1)
    key = master_key(origin, asked.ask)
    keep(origin, key)
    assert master_key(origin) == key
    forget()
    with pytest.raises(WrongKey):
        master_key(origin)


# Where a key comes from, as a file says it


@pytest.mark.parametrize(
    "facts",
    [
        {"source": "nowhere"},
        {"id": "ab"},
        {"id": "no digits"},
        {"database": "ab"},
        {"source": "passphrase"},
        {"source": "passphrase", "salt": "00", "cost": 3, "block": 8, "parallel": 1},
        {"source": "passphrase", "salt": "00", "cost": 2**30, "block": 8, "parallel": 1},
        {"source": "passphrase", "salt": "00", "cost": 2, "block": 2**40, "parallel": 1},
        {"source": "passphrase", "salt": "00", "cost": True, "block": 8, "parallel": 1},
        {"source": "passphrase", "salt": "zz", "cost": 16, "block": 8, "parallel": 1},
        {"source": "passphrase", "salt": "00", "cost": -16, "block": 8, "parallel": 1},
    ],
    ids=str,
)
def test_a_hostile_origin_is_refused_before_it_costs_anything(facts):
    started = time.process_time()
    with pytest.raises(ValueError, match=r"its key|non-hexadecimal"):
        Origin(**{"source": "environment", "id": NUMBER, "database": NUMBER, **facts})
    assert time.process_time() - started < 1


def test_there_is_no_other_source():
    with pytest.raises(UsageError, match="keyring, environment, passphrase"):
        new_key("thin air")
