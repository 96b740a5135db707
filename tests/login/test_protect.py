import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from membrane.errors import StoreDamaged, StoreLocked, UsageError, WrongKey
from membrane.login.protect import projection_of, protect, rekey, renew, status, unprotect
from membrane.protection import keys
from membrane.protection.keys import Origin
from membrane.protection.sealing import Seal
from membrane.store.database_file import previous_of
from membrane.store.joblib_store import JoblibStore
from membrane.store.voiceprint import check_vector
from tests.keyrings import Chest, system_keyring
from tests.protecting import SECRET, Beside
from tests.weights import reweighted

KEY, NEXT = "ab" * 32, "cd" * 32
LONG = "correct horse battery staple"
TESTS = Path(__file__).parents[1]
MAKERS = runpy.run_path(str(TESTS / "store" / "writer.py"))
NAMES = ["Anna", "Zoë", "Max"]


@pytest.fixture(autouse=True)
def environment_keys(monkeypatch):
    monkeypatch.setenv("MEMBRANE_KEY", KEY)
    monkeypatch.setenv("MEMBRANE_NEW_KEY", NEXT)
    monkeypatch.setattr(keys, "SCRYPT_COST", 2**4)
    keys.forget()
    yield
    keys.forget()


@pytest.fixture
def store(tmp_path):
    store = JoblibStore(tmp_path / "data" / "voiceprints.joblib")
    for number, name in enumerate(NAMES):
        passphrase = "open up" if number else ""
        store.add(MAKERS["person"](name, number, utterances=2, passphrase=passphrase))
    return store


@pytest.fixture
def chest():
    with system_keyring(Chest()) as chest:
        yield chest


def anew(store):
    """Return the store as another process would open it."""
    keys.forget()
    return JoblibStore(store.path)


def vectors(store):
    return np.array(store.gallery().matrix)


def alike(store):
    matrix = vectors(store)
    return matrix @ matrix.T


def files(store):
    return {path.name: path.read_bytes() for path in store.path.parent.iterdir()}


# What a protected database is


def test_a_protected_database_holds_the_same_people(store):
    before = [store.get(name).as_json() for name in NAMES]
    protect(store, "environment")
    for voiceprint, json_before in zip(map(anew(store).get, NAMES), before, strict=True):
        facts = voiceprint.as_json()
        for name in ("vector", "utterances", "epoch"):
            facts.pop(name, None)
            json_before.pop(name, None)
        assert facts == json_before


def test_nothing_of_anybody_is_left_in_the_folder(store):
    secrets = [name.encode() for name in NAMES] + [b"open up", b"USB microphone", b"resemblyzer"]
    secrets += [vector.tobytes()[:16] for vector in vectors(store)]
    # A previous copy, and what a crash may have left.
    store.update("Max", lambda person: reweighted(person, 0, 2.0))
    for ending in (".new", ".kept"):
        store.path.with_name(store.path.name + ending).write_bytes(store.path.read_bytes())
    assert all(any(secret in content for content in files(store).values()) for secret in secrets)
    protect(store, "environment")
    assert sorted(files(store)) == [
        *("voiceprints.joblib", "voiceprints.joblib.lock", "voiceprints.joblib.previous"),
    ]
    for content in files(store).values():
        assert not any(secret in content for secret in secrets)


def test_similarities_stay_within_a_hundred_thousandth_through_every_change(store):
    before, vectors_before = alike(store), vectors(store)
    protect(store, "environment")
    renew(store)
    rekey(store, "environment")
    np.testing.assert_allclose(alike(store), before, atol=1e-5)
    unprotect(store)
    np.testing.assert_allclose(vectors(store), vectors_before, atol=1e-6)
    assert store.epoch == ""
    assert store.seal is None


def test_twenty_renewals_do_not_wear_the_voices_out(store):
    before = alike(store)
    protect(store, "environment")
    for _ in range(20):
        renew(store)
    np.testing.assert_allclose(alike(store), before, atol=1e-5)
    for vector in vectors(store):
        check_vector(vector)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: protect(store, "environment"),
        lambda store: (protect(store, "environment"), renew(store)),
        lambda store: (protect(store, "environment"), rekey(store, "environment")),
    ],
    ids=["protect", "renew", "rekey"],
)
def test_a_copy_that_was_stolen_before_matches_nobody_after(store, change):
    stolen = vectors(store)
    change(store)
    assert np.abs(stolen @ vectors(store).T).max() < 0.3
    # Nor those of the utterances that the voices are made of.
    heard = store.get("Anna").utterances[0].vector
    assert abs(float(heard @ stolen[0])) < 0.3


def test_no_copy_that_is_left_in_the_folder_is_of_an_earlier_epoch(store):
    protect(store, "environment")
    for change in (renew, lambda store: rekey(store, "environment")):
        change(store)
        assert JoblibStore(previous_of(store.path)).epoch == store.epoch


def test_a_probe_that_is_turned_matches_as_it_did(store):
    probe = vectors(store)[1]
    before = vectors(store) @ probe
    protect(store, "environment")
    projection = projection_of(store.seal, store.epoch)
    np.testing.assert_allclose(vectors(store) @ projection.turn(probe), before, atol=1e-5)


def test_a_plain_database_has_no_projection(store):
    assert projection_of(store.seal, store.epoch) is None


def test_whoever_is_enrolled_deleted_or_changed_later_is_encrypted_too(store):
    protect(store, "environment")
    other = anew(store)
    epoch = other.epoch
    other.add(replace(MAKERS["person"]("Eve", 7), epoch=epoch))
    other.delete("Anna")
    other.update("max", lambda person: reweighted(person, 0, 2.0))
    assert sorted(anew(store).gallery().names()) == ["Eve", "Max", "Zoë"]
    assert anew(store).epoch == epoch
    for content in files(store).values():
        assert b"Eve" not in content
    assert other.clear() == 3
    assert anew(store).seal is not None
    assert anew(store).epoch == epoch


def test_a_database_of_nobody_can_be_protected(tmp_path):
    store = JoblibStore(tmp_path / "none" / "voiceprints.joblib")
    protect(store, "environment")
    assert (status(store).people, status(store).source) == (0, "environment")
    store.add(replace(MAKERS["person"]("Eve", 7), epoch=store.epoch))
    assert list(anew(store).gallery().names()) == ["Eve"]


def test_what_was_decrypted_is_decrypted_again_only_when_the_file_changed(store, monkeypatch):
    protect(store, "environment")
    first = store.gallery().matrix
    assert store.gallery().matrix is first
    anew(store).delete("Max")
    assert len(store.gallery()) == 2


def test_what_was_decrypted_cannot_be_written_to(store):
    protect(store, "environment")
    with pytest.raises(ValueError, match="read-only"):
        store.gallery().matrix[0, 0] = 1


def test_the_status_says_how_a_database_is_protected(store):
    assert status(store).as_json() == {
        "people": 3,
        "source": "",
        "epoch": "",
        "memory_locked": False,
        "finished": True,
    }
    protect(store, "environment")
    told = status(store)
    assert (told.people, told.source, told.finished) == (3, "environment", True)
    assert told.epoch == store.epoch
    assert not told.memory_locked


# Keys


def test_the_key_of_the_environment_opens_it_and_another_does_not(store, monkeypatch):
    protect(store, "environment")
    before = files(store)
    monkeypatch.setenv("MEMBRANE_KEY", NEXT)
    for use in (
        lambda: anew(store).gallery(),
        lambda: anew(store).get("Anna"),
        lambda: anew(store).clear(),
        lambda: anew(store).delete("Anna"),
        lambda: renew(anew(store)),
        lambda: unprotect(anew(store)),
    ):
        with pytest.raises(WrongKey) as failure:
            use()
        assert len(str(failure.value).splitlines()) == 1
    monkeypatch.delenv("MEMBRANE_KEY")
    with pytest.raises(WrongKey, match="not set"):
        anew(store).gallery()
    assert files(store) == before


def test_a_keyring_holds_one_key_after_every_change(store, chest):
    protect(store, "keyring")
    first = dict(chest.secrets)
    assert list(anew(store).gallery().names()) == NAMES
    rekey(store, "keyring")
    assert len(chest.secrets) == 1
    assert not first.keys() & chest.secrets.keys()
    assert list(anew(store).gallery().names()) == NAMES
    unprotect(store)
    assert chest.secrets == {}


def test_without_a_keyring_nothing_is_encrypted(store):
    from keyring.backends.fail import Keyring

    before = files(store)
    with system_keyring(Keyring()), pytest.raises(WrongKey, match="gnome-keyring"):
        protect(store, "keyring")
    assert files(store) == before


def test_a_passphrase_opens_it_once_asked_and_a_wrong_one_does_not(store):
    answers = [LONG, LONG]
    protect(store, "passphrase", ask=lambda _: answers.pop(0))
    with pytest.raises(WrongKey, match="use a terminal"):
        anew(store).gallery()
    keys.forget()
    with pytest.raises(WrongKey, match="try again with the passphrase"):
        JoblibStore(store.path, ask=lambda _: "another passphrase").gallery()
    questions = []
    for _ in range(2):
        asked = JoblibStore(store.path, ask=lambda question: questions.append(question) or LONG)
        assert list(asked.gallery().names()) == NAMES
    assert len(questions) == 1


def test_threads_that_need_the_passphrase_at_once_ask_for_it_once(store):
    protect(store, "passphrase", ask=lambda _: LONG)
    keys.forget()
    questions = []

    def ask(question):
        questions.append(question)
        time.sleep(0.2)
        return LONG

    def opened(_):
        return list(JoblibStore(store.path, ask=ask).gallery().names())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(opened, range(8))) == [NAMES] * 8
    assert len(questions) == 1


def test_a_child_of_a_fork_can_ask_while_a_thread_of_its_parent_asks(store):
    protect(store, "passphrase", ask=lambda _: LONG)
    keys.forget()
    asking, answered = threading.Event(), threading.Event()

    def slowly(_):
        asking.set()
        answered.wait()
        return LONG

    thread = threading.Thread(target=JoblibStore(store.path, ask=slowly).gallery)
    thread.start()
    asking.wait()
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(len(JoblibStore(store.path, ask=lambda _: LONG).gallery()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == len(NAMES)
    answered.set()
    thread.join()


def test_the_old_key_opens_nothing_after_another_was_put_in_its_place(store, monkeypatch):
    protect(store, "environment")
    rekey(store, "environment")
    for path in (store.path, previous_of(store.path)):
        keys.forget()
        with pytest.raises(WrongKey):
            JoblibStore(path).gallery()
    monkeypatch.setenv("MEMBRANE_KEY", NEXT)
    for path in (store.path, previous_of(store.path)):
        assert list(JoblibStore(path).gallery().names()) == NAMES
    assert bytes.fromhex(KEY) not in store.path.read_bytes()
    assert anew(store).seal.former == b""


def test_a_key_can_move_to_another_source(store, chest):
    protect(store, "environment")
    rekey(store, "keyring")
    assert status(anew(store)).source == "keyring"
    rekey(store, "passphrase", ask=lambda _: LONG)
    assert chest.secrets == {}
    assert status(store).source == "passphrase"


def test_the_previous_copy_opens_with_the_same_key_and_replaces_a_damaged_file(store):
    protect(store, "environment")
    store.update("Max", lambda person: reweighted(person, 0, 2.0))
    store.path.write_bytes(store.path.read_bytes()[:-1])
    with pytest.raises(StoreDamaged, match="previous good copy is") as failure:
        anew(store).gallery()
    assert str(previous_of(store.path)) in str(failure.value)
    previous_of(store.path).replace(store.path)
    assert list(anew(store).gallery().names()) == NAMES


def test_a_copy_that_needs_a_key_that_is_not_here_is_named_all_the_same(store):
    protect(store, "passphrase", ask=lambda _: LONG)
    store.path.write_bytes(store.path.read_bytes()[:100])
    with pytest.raises(StoreDamaged, match=r"previous copy .* is encrypted"):
        anew(store).gallery()


def test_damage_at_any_length_never_yields_a_part_of_the_people(store):
    protect(store, "environment")
    sound = store.path.read_bytes()
    for length in range(1, len(sound), 50):
        store.path.write_bytes(sound[:length])
        with pytest.raises(StoreDamaged):
            anew(store).gallery()


# What is not noticed, so that nobody relies on it


def test_an_old_file_that_is_put_back_is_not_noticed(store):
    protect(store, "environment")
    old = store.path.read_bytes()
    store.delete("Anna")
    store.path.write_bytes(old)
    assert list(anew(store).gallery().names()) == NAMES


def test_a_plain_file_in_its_place_is_noticed_only_where_the_settings_ask_for_that(store):
    plain = store.path.read_bytes()
    protect(store, "environment")
    strict = JoblibStore(store.path, sealed_only=True)
    assert list(strict.gallery().names()) == NAMES
    store.path.write_bytes(plain)
    assert list(anew(store).gallery().names()) == NAMES
    for use in (strict.gallery, strict.clear, lambda: strict.get("Anna")):
        with pytest.raises(WrongKey, match="not encrypted, and the settings ask"):
            use()
    assert status(strict).source == ""
    store.path.unlink()
    assert len(strict.gallery()) == 0
    with pytest.raises(WrongKey, match="not encrypted"):
        strict.add(MAKERS["person"]("Eve"))


def test_a_plain_database_can_be_protected_where_the_settings_ask_for_that(store):
    strict = JoblibStore(store.path, sealed_only=True)
    protect(strict, "environment")
    assert list(strict.gallery().names()) == NAMES


# Changes that cannot be, or meet each other


@pytest.mark.parametrize(
    "change",
    [renew, unprotect, lambda store: rekey(store, "environment")],
    ids=["renew", "unprotect", "rekey"],
)
def test_what_is_not_protected_says_what_to_do_first(store, change):
    with pytest.raises(UsageError, match="run `membrane protect` first"):
        change(store)


def test_what_is_protected_is_not_protected_again(store):
    protect(store, "environment")
    before = files(store)
    with pytest.raises(UsageError, match="protected already: use --rekey"):
        protect(store, "environment")
    assert files(store) == before


def test_of_two_changes_at_once_one_is_told_to_try_again(store, monkeypatch):
    protect(store, "environment")
    made = keys.new_key

    def while_another_renews(*arguments, **options):
        monkeypatch.setattr(keys, "new_key", made)
        rekey(anew(store), "environment")
        return made(*arguments, **options)

    monkeypatch.setattr(keys, "new_key", while_another_renews)
    with pytest.raises(StoreLocked, match="try again"):
        rekey(store, "environment")
    monkeypatch.setenv("MEMBRANE_KEY", NEXT)
    assert list(anew(store).gallery().names()) == NAMES


def test_a_voice_that_was_turned_for_another_epoch_is_not_stored(store):
    from membrane.errors import StoreError

    protect(store, "environment")
    late = replace(MAKERS["person"]("Eve", 7), epoch=store.epoch)
    renew(store)
    with pytest.raises(StoreError, match="try again"):
        store.add(late)


def test_another_file_is_resealed_by_a_seal_that_opens_it_before_and_after(store, monkeypatch):
    beside = Beside(store.path.with_name("beside"))
    beside.write(SECRET, None)
    for key, change in (
        (KEY, lambda: protect(store, "environment", others=[beside.reseal])),
        (NEXT, lambda: rekey(store, "environment", others=[beside.reseal])),
        (NEXT, lambda: renew(store, others=[beside.reseal])),
        (NEXT, lambda: unprotect(store, others=[beside.reseal])),
    ):
        change()
        monkeypatch.setenv("MEMBRANE_KEY", key)
        assert beside.read(anew(store).seal) == SECRET
    assert SECRET in beside.path.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_kill_at_any_step_leaves_a_database_that_opens_and_can_be_finished(store, environment):
    process = subprocess.run(
        [sys.executable, TESTS / "protecting.py", store.path, "3"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    killed = json.loads(process.stdout)
    assert min(killed.values()) >= 5, "the kills must find it at work"
    assert sum(killed.values()) >= 50


def test_the_projection_depends_on_key_and_epoch():
    seal = Seal(bytes(32), Origin("environment", "ab" * 16, "12" * 16))
    other = Seal(bytes([1] * 32), seal.origin)
    matrices = [
        projection_of(one, epoch).matrix.tobytes()
        for one in (seal, other)
        for epoch in ("first", "second")
    ]
    assert len(set(matrices)) == 4
