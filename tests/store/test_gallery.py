import numpy as np
import pytest

from membrane.errors import StoreDamaged
from membrane.store import database_file
from membrane.store.columns import Columns, Texts
from membrane.store.gallery import Gallery


@pytest.fixture
def people(person):
    return [
        person("Anna", 1, utterances=3, passphrase="open up"),
        person("Zoë", 2, utterances=1, encoder="another"),
        person("Max", 3, utterances=2, consent_at="2026-01-01T00:00:00+00:00"),
        person("Eve", 4, passphrase="öffne dich", keep_until="2999-12-31"),
    ]


@pytest.fixture
def gallery(people, tmp_path):
    path = tmp_path / "people"
    database_file.write(path, Columns.of(people))
    return Gallery(database_file.read(path).columns, path)


def test_the_matrix_holds_everybodys_vector_in_the_order_of_the_names(gallery, people):
    assert list(gallery.names()) == ["Anna", "Zoë", "Max", "Eve"]
    np.testing.assert_array_equal(gallery.matrix, [person.vector for person in people])
    assert gallery.matrix.dtype == np.float32
    assert gallery.matrix.flags.c_contiguous
    assert len(gallery) == 4


def test_the_matrix_is_mapped_and_not_loaded(gallery):
    assert not gallery.matrix.flags.owndata
    assert not gallery.matrix.flags.writeable


def test_what_was_stored_of_a_person_comes_back_whole(gallery, people):
    for row, person in enumerate(people):
        assert gallery.voiceprint(row).as_json() == person.as_json()


@pytest.mark.parametrize("name", ["zoë", "ZOE\u0308", "Zoë"])
def test_a_name_is_found_without_case(gallery, name):
    assert gallery.index_of(name) == 1


def test_a_name_that_is_not_there_is_not_found(gallery):
    assert gallery.index_of("Ann") is None


def test_names_whose_hashes_collide_are_told_apart(person, tmp_path, monkeypatch):
    monkeypatch.setattr("membrane.store.columns.name_hash", lambda name: 7)
    gallery = Gallery(Columns.of([person("Anna"), person("Max")]), tmp_path)
    assert gallery.index_of("max") == 1
    assert gallery.index_of("eve") is None


def test_voiceprints_of_different_encoders_are_told_apart(gallery):
    assert gallery.encoders == ("resemblyzer", "another")
    assert gallery.encoder_of(1) == "another"
    assert gallery.made_by("resemblyzer").tolist() == [True, False, True, True]
    assert gallery.made_by("unknown").tolist() == [False] * 4


def test_people_are_parted_by_encoder_and_one_that_is_left_of_nobody_is_not_named(gallery):
    def parted(rows=None):
        return {name: rows.tolist() for name, rows in gallery.by_encoder(rows).items()}

    assert parted() == {
        "resemblyzer": [True, False, True, True],
        "another": [False, True, False, False],
    }
    assert parted([1]) == {"another": [False, True, False, False]}
    assert parted([3, 0]) == {"resemblyzer": [True, False, False, True]}
    assert parted([]) == {}


def test_only_those_who_have_a_passphrase_are_listed_with_theirs(gallery):
    assert list(gallery.passphrases()) == [(0, "open up"), (3, "öffne dich")]


def test_a_number_leads_to_the_row_whose_hash_comes_next(person, tmp_path, monkeypatch):
    hashes = {"Anna": 100, "Max": 2**63, "Eve": 2**64 - 100}
    monkeypatch.setattr("membrane.store.columns.name_hash", hashes.get)
    gallery = Gallery(Columns.of([person(name) for name in hashes]), tmp_path)
    for number, row in (
        *((0, 0), (100, 0), (101, 1), (2**63, 1), (2**63 + 1, 2)),
        *((2**64 - 100, 2), (2**64 - 99, 0), (2**64 - 1, 0)),
    ):
        assert gallery.row_near(number) == row, number


def test_whoever_else_is_enrolled_a_number_leads_to_them_or_to_the_same_person(person, tmp_path):
    people = [person(f"person {number}", number) for number in range(50)]
    before = Gallery(Columns.of(people), tmp_path)
    after = Gallery(Columns.of([person("Eve", 99), *people[::-1]]), tmp_path)
    numbers = np.random.default_rng(3).integers(2**63, size=500, dtype=np.uint64) * 2
    led = [before.name(before.row_near(int(number))) for number in numbers]
    again = [after.name(after.row_near(int(number))) for number in numbers]
    assert {new for old, new in zip(led, again, strict=True) if new != old} <= {"Eve"}
    assert len(set(led)) > 30


def test_what_is_told_of_everybody_has_no_vector_and_no_passphrase(gallery):
    rows = list(gallery.summaries())
    assert [(row["name"], row["passphrase"], row["keep_until"]) for row in rows] == [
        ("Anna", True, ""),
        ("Zoë", False, ""),
        ("Max", False, ""),
        ("Eve", True, "2999-12-31"),
    ]
    assert "open up" not in str(rows)


@pytest.mark.parametrize("row", [-1, 4])
def test_a_row_that_is_not_there_is_the_callers_mistake(gallery, row):
    for look in (gallery.voiceprint, gallery.name, gallery.encoder_of):
        with pytest.raises(IndexError):
            look(row)


def test_a_gallery_of_nobody_is_empty_everywhere(tmp_path):
    gallery = Gallery(Columns.of([]), tmp_path)
    assert gallery.matrix.shape == (0, 256)
    assert gallery.index_of("anna") is None
    assert gallery.row_near(7) is None
    assert list(gallery.names()) == list(gallery.passphrases()) == []
    assert gallery.made_by("resemblyzer").shape == (0,)


@pytest.mark.parametrize("factor", [0, 2, 1e30, np.nan, np.inf])
def test_a_vector_that_is_not_of_length_1_is_never_used(people, tmp_path, factor):
    columns = Columns.of(people)
    with np.errstate(invalid="ignore"):
        columns.vectors[2] *= np.float32(factor)
    gallery = Gallery(columns, tmp_path / "people")
    with pytest.raises(StoreDamaged, match="a vector of length"):
        gallery.voiceprint(2)
    assert gallery.voiceprint(1).name == "Zoë"


def test_a_stored_name_that_would_upset_the_terminal_is_not_shown(people, tmp_path):
    columns = Columns.of(people)
    columns = Columns(**vars(columns) | {"names": columns.names.of(["Anna", "\x1b[2J", "M", "E"])})
    gallery = Gallery(columns, tmp_path / "people")
    with pytest.raises(StoreDamaged) as damage:
        gallery.name(1)
    assert str(damage.value).isprintable()


def test_people_are_taken_out_and_put_in_without_touching_the_others(people):
    columns = Columns.of(people)
    for row in range(len(people)):
        others = people[:row] + people[row + 1 :]
        changed = columns.without(row).followed_by(Columns.of([people[row]]))
        expected = [person.as_json() for person in [*others, people[row]]]
        assert [changed.voiceprint(number).as_json() for number in range(4)] == expected
        assert changed.row_of(people[row].name) == 3


def test_a_text_of_megabytes_is_refused_and_not_parsed():
    texts = Texts.of(["short", "x" * 100_000])
    assert texts[0] == "short"
    with pytest.raises(ValueError, match="too long"):
        texts[1]


def test_names_are_found_by_the_numbers_of_the_log(gallery):
    by_id = gallery.names_by_id()
    people = [gallery.voiceprint(row) for row in range(len(gallery))]
    assert by_id == {person.id: person.name for person in people}
    assert len(by_id) == len(people)
