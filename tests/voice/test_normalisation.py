import os
import tracemalloc
from zipfile import ZipFile

import numpy as np
import pytest

from membrane.errors import (
    EncoderMismatch,
    ModelUnavailable,
    OutputUnwritable,
    PoorQuality,
    StoreDamaged,
    UsageError,
)
from membrane.models import registry as models
from membrane.voice.normalisation import (
    NORMALISATIONS,
    AdaptiveSymmetric,
    Centred,
    Cohort,
    Raw,
    load_cohort,
    normalisation_named,
    save_cohort,
)


def voices(count, seed=0, dimension=256):
    """Return vectors like d-vectors: no negative numbers, so all of them share a direction."""
    rows = np.random.default_rng(seed).random((count, dimension)) ** 3
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def centred_cosine(one, other, mean):
    one, other, mean = (vector.astype(float) for vector in (one, other, mean))
    return (one - mean) @ (other - mean) / np.linalg.norm(one - mean) / np.linalg.norm(other - mean)


@pytest.fixture(scope="module")
def cohort():
    return Cohort.of(voices(120, seed=9))


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Return the path of a shipped cohort, which is not there yet."""
    monkeypatch.setattr(models, "shipped_folder", lambda: tmp_path)
    load_cohort.cache_clear()
    yield tmp_path / "mine.cohort.npz"
    load_cohort.cache_clear()


def every(cohort):
    return [normalisation_named(name, "mine", cohort=cohort) for name in NORMALISATIONS]


def test_centring_takes_the_mean_of_strangers_from_both_voices(cohort):
    gallery, probe = voices(3000), voices(1, seed=1)[0]
    expected = [centred_cosine(row, probe, cohort.mean) for row in gallery]
    alike = Centred(cohort).similarities(gallery, probe)
    np.testing.assert_allclose(alike, expected, atol=1e-6)
    assert alike.dtype == np.float32


def test_centring_sets_strangers_apart_who_share_a_direction(cohort):
    gallery, probe = voices(200), voices(1, seed=1)[0]
    assert Raw().similarities(gallery, probe).mean() > 0.4
    assert abs(Centred(cohort).similarities(gallery, probe).mean()) < 0.05


def test_the_raw_cosine_needs_no_cohort(shipped):
    raw = normalisation_named("none", "mine")
    assert raw.similarities(voices(2), voices(2)[1])[1] == pytest.approx(1)


def brute_force_as_norm(one, other, cohort, closest=50):
    def against_cohort(voice):
        alike = [centred_cosine(voice, stranger, cohort.mean) for stranger in cohort.vectors]
        return np.sort(alike)[::-1][:closest]

    alike = centred_cosine(one, other, cohort.mean)
    return np.mean(
        [(alike - near.mean()) / near.std() for near in map(against_cohort, (one, other))]
    )


@pytest.mark.parametrize("size", [120, 20])
def test_as_norm_counts_deviations_from_the_closest_strangers_of_both_voices(size):
    cohort = Cohort.of(voices(size, seed=9))
    gallery, probes = voices(5), voices(3, seed=1)
    expected = [[brute_force_as_norm(row, one, cohort) for one in probes] for row in gallery]
    normalised = AdaptiveSymmetric(cohort).matrix(gallery, probes)
    np.testing.assert_allclose(normalised, expected, atol=1e-4)


@pytest.mark.parametrize("place", range(len(NORMALISATIONS)), ids=NORMALISATIONS)
def test_the_matrix_holds_the_same_numbers(cohort, place):
    gallery, probes = voices(7), voices(4, seed=1)
    kind = every(cohort)[place]
    columns = [kind.similarities(gallery, probe) for probe in probes]
    np.testing.assert_allclose(kind.matrix(gallery, probes), np.stack(columns, 1), atol=1e-5)
    assert kind.matrix(gallery, probes).dtype == np.float32
    assert kind.name == NORMALISATIONS[place]


@pytest.mark.parametrize("place", range(len(NORMALISATIONS)), ids=NORMALISATIONS)
def test_both_voices_count_alike(cohort, place):
    matrix = every(cohort)[place].matrix(voices(6), voices(6))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)


@pytest.mark.parametrize("place", range(len(NORMALISATIONS)), ids=NORMALISATIONS)
def test_a_gallery_may_be_empty(cohort, place):
    assert every(cohort)[place].similarities(voices(0), voices(1)[0]).shape == (0,)


def test_a_memory_mapped_gallery_is_not_copied(cohort, tmp_path):
    np.save(tmp_path / "gallery.npy", voices(40_000))
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    probe = np.array(mapped[12_345])
    tracemalloc.start()
    alike = Centred(cohort).similarities(mapped, probe)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert alike.argmax() == 12_345
    assert type(alike) is np.ndarray
    assert peak < mapped.nbytes / 20


def test_a_voice_that_is_the_mean_itself_is_like_nobody(cohort):
    # The mean of unit vectors is shorter than they are, so only a cohort of one voice ends here.
    one = voices(1)
    nobody = Centred(Cohort.of(np.repeat(one, 3, axis=0)))
    assert nobody.similarities(np.concatenate([one, voices(2, seed=1)]), one[0]).tolist() == [0] * 3
    assert nobody.matrix(one, voices(2, seed=1)).tolist() == [[0, 0]]
    assert np.isfinite(AdaptiveSymmetric(nobody.cohort).matrix(one, one)).all()


@pytest.mark.parametrize("place", range(len(NORMALISATIONS)), ids=NORMALISATIONS)
def test_vectors_of_another_encoder_are_never_compared(cohort, place):
    kind = every(cohort)[place]
    with pytest.raises(EncoderMismatch):
        kind.similarities(voices(3), voices(1, dimension=192)[0])
    with pytest.raises(EncoderMismatch):
        kind.matrix(voices(3), voices(1, dimension=192))


def test_the_cohort_of_another_encoder_is_never_used(cohort):
    foreign = voices(3, dimension=192)
    with pytest.raises(EncoderMismatch):
        Centred(cohort).similarities(foreign, foreign[0])
    with pytest.raises(EncoderMismatch):
        Centred(cohort).matrix(foreign, foreign)


def test_a_probe_that_is_not_a_number_is_refused(cohort):
    with pytest.raises(PoorQuality):
        Centred(cohort).similarities(voices(3), np.full(256, np.nan, np.float32))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_voiceprint_that_is_not_a_number_is_named(cohort, broken):
    gallery = voices(3000)
    gallery[2048, 100] = broken
    with pytest.raises(StoreDamaged, match="voiceprint 2048 "):
        Centred(cohort).similarities(gallery, voices(1, seed=1)[0])


def test_voiceprints_too_large_to_be_summed_are_refused_without_a_warning(cohort):
    with pytest.raises(StoreDamaged, match="voiceprint 0 "):
        Centred(cohort).similarities(np.full((2, 256), 1e38, np.float32), voices(1)[0])


def test_voiceprints_too_large_for_the_mean_alone_are_refused_without_a_warning(cohort):
    gallery, probe = np.zeros((2, 256), np.float32), np.zeros(256, np.float32)
    gallery[1, 1:] = -1e38
    probe[0] = 1
    with pytest.raises(StoreDamaged, match="voiceprint 1 "):
        Centred(cohort).similarities(gallery, probe)


def test_an_unknown_normalisation_is_a_usage_error_that_names_the_known_ones(cohort):
    with pytest.raises(UsageError, match="none, centre, as-norm"):
        normalisation_named("z-norm", "mine", cohort=cohort)


@pytest.mark.parametrize("rows", [np.zeros((0, 256)), np.ones((1, 256)), np.ones(256)])
def test_a_cohort_of_fewer_than_two_is_refused(rows):
    with pytest.raises(UsageError, match="two strangers or more"):
        Cohort.of(rows)


@pytest.mark.parametrize("number", [0, np.nan, np.inf])
def test_a_cohort_of_what_is_no_voice_is_refused(number):
    with pytest.raises(UsageError, match="not a number"):
        Cohort.of(np.full((2, 256), number, np.float32))


def test_a_cohort_is_kept_in_half_precision_and_read_back_as_unit_vectors(cohort, shipped):
    save_cohort(Cohort.of(cohort.vectors, {"corpora": ["one", "other"]}), shipped)
    read = load_cohort("mine")
    assert shipped.stat().st_size < cohort.vectors.nbytes * 0.6
    np.testing.assert_allclose(np.linalg.norm(read.vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(read.vectors, cohort.vectors, atol=1e-3)
    np.testing.assert_allclose(read.mean, cohort.mean, atol=1e-3)
    assert read.provenance == {"corpora": ["one", "other"]}
    assert load_cohort("mine") is read


def test_the_shipped_cohort_is_used_unless_another_is_given(cohort, shipped):
    save_cohort(cohort, shipped)
    assert normalisation_named("centre", "mine").cohort is load_cohort("mine")
    assert normalisation_named("as-norm", "mine", cohort=cohort).cohort is cohort


def a_bare_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones((2, 4)))


def with_a_name_of_64_kb(path):
    np.savez(path, vectors=np.ones((2, 40_000)), provenance=np.array("{}"))
    content = bytearray(path.read_bytes())
    content[26:28] = b"\xff\xff"
    path.write_bytes(content)


def with_an_open_bracket(path):
    header = b"{'descr': '<f2', 'fortran_order': False, 'shape': (2, (4, }\n"
    with ZipFile(path, "w") as archive:
        archive.writestr(
            "vectors.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header
        )


def encrypted(path):
    np.savez(path, vectors=np.ones((2, 4)), provenance=np.array("{}"))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


def pickled(path):
    np.savez(path, vectors=np.array([{}], dtype=object), provenance=np.array("{}"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: None,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04 and nothing of the kind"),
        lambda path: path.mkdir(),
        lambda path: np.savez(path, vectors=np.ones((2, 4), np.float16)),
        lambda path: np.savez(path, vectors=np.zeros((2, 4)), provenance=np.array("{}")),
        lambda path: np.savez(path, vectors=np.ones((2, 4)), provenance=np.array("{")),
        a_bare_array,
        with_a_name_of_64_kb,
        with_an_open_bracket,
        encrypted,
        pickled,
    ],
)
def test_a_cohort_that_cannot_be_read_is_a_missing_model(shipped, damage):
    damage(shipped)
    with pytest.raises(ModelUnavailable, match="reinstall Membrane") as refused:
        load_cohort("mine")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_every_cut_of_a_cohort_is_a_missing_model(cohort, shipped):
    save_cohort(Cohort.of(cohort.vectors[:3]), shipped)
    whole = shipped.read_bytes()
    for length in range(0, len(whole), 97):
        shipped.write_bytes(whole[:length])
        load_cohort.cache_clear()
        with pytest.raises(ModelUnavailable):
            load_cohort("mine")


def test_a_place_that_cannot_be_written_says_so(cohort, tmp_path):
    with pytest.raises(OutputUnwritable, match="choose another place"):
        save_cohort(cohort, tmp_path / "missing" / "cohort.npz")


def test_a_full_disk_leaves_the_cohort_as_it_was(cohort, shipped, monkeypatch):
    save_cohort(cohort, shipped)
    before = shipped.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputUnwritable, match="No space left"):
        save_cohort(cohort, shipped)
    assert shipped.read_bytes() == before
    assert list(shipped.parent.iterdir()) == [shipped]
