import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.audio.files import save_recording
from membrane.audio.quality import Quality
from membrane.errors import NoSuchFile, UndecodableAudio
from membrane.evaluation import keeping, voices
from membrane.evaluation.conditions import conditions
from membrane.evaluation.corpora.recordings import Recording, find_recordings
from membrane.evaluation.keeping import sources_of
from membrane.evaluation.voices import Heard, Job, VoiceCache, cache_folder, hear
from membrane.settings import Settings
from membrane.voice.encoder import Embedding, load_encoder
from tests import second_encoder
from tests.processes import assert_group_ends

KEY = "ab" * 32

PROGRAM = """
import sys
from pathlib import Path
from membrane.settings import Settings
from tests.evaluation.test_voices import VoiceCache, hear, many_jobs

def tell(done, total):
    print(done, flush=True)

try:
    cache = VoiceCache(Path(sys.argv[2]))
    hear(many_jobs(Path(sys.argv[1])), Settings(), cache=cache, workers=2, progress=tell)
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


@pytest.fixture
def jobs(recording):
    return [
        Job(Recording((recording(person, purpose),), person), enrolling=purpose == "enrol")
        for person in ("ada", "boris")
        for purpose in ("enrol", "login")
    ]


@pytest.fixture
def cache(tmp_path):
    return VoiceCache(tmp_path / "voices")


@pytest.fixture
def short(recording, utterance_of, tmp_path):
    path = tmp_path / "short.wav"
    save_recording(path, utterance_of("ada", "login").samples[:20_000])
    return Job(Recording((path,), "ada"))


@pytest.fixture
def silent(tmp_path):
    path = tmp_path / "silent.wav"
    save_recording(path, np.zeros(48_000, np.float32))
    return Job(Recording((path,), "nobody"))


@pytest.fixture
def damaged(tmp_path):
    path = tmp_path / "damaged.wav"
    path.write_bytes(b"no sound")
    return Job(Recording((path,), "nobody"))


def many_jobs(recordings):
    found = find_recordings([recordings]).recordings
    return [Job(one, each) for each in conditions(noise="pink") for one in found]


def here(jobs, **options):
    return hear(jobs, Settings(), **{"backend": "sequential", **options})


def assert_same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert replace(one, embedding=None).__dict__ == replace(other, embedding=None).__dict__
        assert (one.embedding is None) == (other.embedding is None)
        if one.embedding:
            np.testing.assert_array_equal(one.embedding.vector, other.embedding.vector)
            np.testing.assert_array_equal(one.embedding.partials, other.embedding.partials)


def computed(monkeypatch):
    """Count the jobs that are heard and not taken from the cache."""
    keys = []
    original = voices._hear_one

    def count(key, job, **options):
        keys.append(key)
        return original(key, job, **options)

    monkeypatch.setattr(voices, "_hear_one", count)
    return keys


def test_a_job_is_heard_as_a_login_is(jobs, examiner):
    for job, heard in zip(jobs, here(jobs), strict=True):
        examined = examiner.examine(job.recording.read(), enrolling=job.enrolling)
        np.testing.assert_array_equal(heard.embedding.vector, examined.embedding.vector)
        np.testing.assert_array_equal(heard.embedding.partials, examined.embedding.partials)
        assert heard.quality == examined.prepared.quality
        assert heard.denoised == examined.prepared.voice_denoised
        assert (heard.problem, heard.reason) == ("", "")


@pytest.mark.parametrize(("below_db", "denoised"), [(np.inf, True), (-np.inf, False)])
def test_what_is_told_of_denoising_is_told_of_the_voice(jobs, monkeypatch, below_db, denoised):
    monkeypatch.setattr(
        "membrane.voice.encoders.resemblyzer.DVectorEncoder.denoise_below_db", below_db
    )
    monkeypatch.setattr("membrane.audio.preparation.DENOISE_BELOW_DB", -below_db)
    [heard] = hear(jobs[:1], Settings(encoder="resemblyzer"), backend="sequential")
    assert heard.denoised is denoised


def test_processes_hear_what_one_process_hears_and_in_order(jobs):
    assert_same(hear(jobs, Settings(), workers=2), here(jobs))


@pytest.mark.parametrize("backend", ["threading", "sequential"])
def test_other_backends_hear_the_same(backend, jobs):
    assert_same(hear(jobs, Settings(), workers=2, backend=backend), here(jobs))


def test_what_was_heard_once_is_not_computed_again(jobs, cache, monkeypatch):
    keys = computed(monkeypatch)
    first = here(jobs, cache=cache)
    assert len(keys) == len(jobs)
    assert_same(here(jobs, cache=VoiceCache(cache.folder)), first)
    assert len(keys) == len(jobs)


def test_recordings_of_one_content_are_heard_once(jobs, tmp_path, monkeypatch):
    keys = computed(monkeypatch)
    copy = tmp_path / "copy.flac"
    copy.write_bytes(jobs[1].recording.files[0].read_bytes())
    heard = here([jobs[1], Job(Recording((copy,), "somebody else"))])
    assert len(keys) == 1
    assert_same(heard[:1], heard[1:])


def test_each_encoder_keeps_voices_of_its_own(jobs, cache, monkeypatch, tmp_path):
    with second_encoder.beside(monkeypatch, tmp_path):
        one, other = (
            hear(jobs[1:2], Settings(encoder=name), cache=cache, backend="sequential")[0]
            for name in ("resemblyzer", second_encoder.NAME)
        )
        keys = computed(monkeypatch)
        hear(jobs[1:2], Settings(encoder="resemblyzer"), cache=cache, backend="sequential")
    assert not keys
    turned = one.embedding.vector @ second_encoder.rotation()
    np.testing.assert_allclose(other.embedding.vector, turned, atol=1e-6)


@pytest.mark.parametrize("encoder", ["resemblyzer", "membrane"])
def test_a_voice_depends_on_all_source_of_its_encoder_and_on_no_other_encoder(encoder, monkeypatch):
    found = []
    monkeypatch.setattr(voices, "source_hash", lambda *modules: found.extend(modules))
    voices.pipeline(encoder)
    own = {name: type(load_encoder(name)).__module__ for name in ("resemblyzer", "membrane")}
    assert found == ["membrane.evaluation.voices", own[encoder]]
    modules = {path.stem for path in sources_of(*found)[0]}
    assert {name for name, module in own.items() if module.rpartition(".")[2] in modules} == {
        encoder
    }
    assert {"activity", "denoise", "trimming", "partials", "inference", "voice"} <= modules


@pytest.mark.parametrize("changed", [Settings(denoise="never"), "enrolling", "pipeline"])
def test_what_was_heard_otherwise_is_computed_again(changed, jobs, cache, monkeypatch):
    here(jobs[1:2], cache=cache)
    keys = computed(monkeypatch)
    job, chosen = jobs[1], Settings()
    if isinstance(changed, Settings):
        chosen = changed
    elif changed == "enrolling":
        job = replace(job, enrolling=True)
    else:
        monkeypatch.setattr(voices, "pipeline", lambda _encoder: "of another Membrane")
    hear([job], chosen, cache=cache, backend="sequential")
    assert len(keys) == 1


def test_settings_that_change_no_vector_find_what_is_kept(jobs, cache, monkeypatch):
    here(jobs[1:2], cache=cache)
    keys = computed(monkeypatch)
    hear(jobs[1:2], Settings(security="strict"), cache=cache, backend="sequential")
    assert not keys


def test_what_a_login_refuses_is_refused_with_its_quality(short, cache):
    for _ in range(2):
        [heard] = here([short], cache=cache)
        assert heard.problem == "refused"
        assert heard.embedding is None
        assert 0 < heard.quality.speech_s < 1.5
        assert heard.reason.startswith("I heard ")


def test_without_the_gate_the_same_entry_gives_the_voice(short, cache, monkeypatch):
    here([short], cache=cache)
    keys = computed(monkeypatch)
    [heard] = here([short], cache=cache, gate=False)
    assert not keys
    assert heard.problem == ""
    assert np.linalg.norm(heard.embedding.vector) == pytest.approx(1)


@pytest.mark.parametrize("gate", [True, False])
def test_silence_is_refused_with_and_without_the_gate(gate, silent, cache):
    for _ in range(2):
        [heard] = here([silent], cache=cache, gate=gate)
        assert (heard.problem, heard.embedding) == ("refused", None)
        assert heard.quality.speech_s == 0
        assert heard.reason.startswith("I heard no speech")


def test_what_cannot_be_read_is_named_among_good_ones(jobs, damaged, tmp_path):
    missing = Job(Recording((tmp_path / "missing.wav",), "nobody"))
    good, *bad = here([jobs[1], damaged, missing])
    assert good.embedding
    assert [one.problem for one in bad] == ["unreadable"] * 2
    assert [one.quality for one in bad] == [None] * 2
    assert "damaged.wav is not a recording" in bad[0].reason
    assert "missing.wav" in bad[1].reason


def test_what_cannot_be_read_is_tried_again(damaged, recording, cache):
    assert here([damaged], cache=cache)[0].problem == "unreadable"
    damaged.recording.files[0].write_bytes(recording("ada", "login").read_bytes())
    assert here([damaged], cache=cache)[0].embedding


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_failing_fast_raises_the_first_error(backend, jobs, damaged, tmp_path):
    with pytest.raises(UndecodableAudio, match=r"damaged\.wav"):
        hear([*jobs, damaged], Settings(), backend=backend, workers=2, fail_fast=True)
    missing = Job(Recording((tmp_path / "missing.wav",), "nobody"))
    with pytest.raises(NoSuchFile, match=r"missing\.wav"):
        hear([missing, missing], Settings(), backend=backend, workers=2, fail_fast=True)


def test_progress_is_told_and_counts_what_was_kept(jobs, cache):
    told = []
    here(jobs[:2], cache=cache)
    here(jobs, cache=cache, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_entry_comes_back_as_it_was_kept(cache):
    vectors = np.random.default_rng(0).normal(size=(4, 256)).astype(np.float32)
    heard = Heard(Embedding(vectors[0], vectors[1:]), Quality(2.5, 31.0, -20.5, 0.0), denoised=True)
    assert cache.get(KEY) is None
    cache.put(KEY, heard)
    assert_same([cache.get(KEY)], [heard])
    assert [path for path in cache.folder.rglob("*") if path.suffix == ".new"] == []


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_entry_counts_as_missing(data, cache):
    cache.put(KEY, Heard(None, Quality(0.0, 0.0, -60.0, 0.0), problem="refused", reason="silence"))
    [path] = (each for each in cache.folder.rglob("*") if each.is_file())
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
    cut = data.draw(st.booleans())
    path.write_bytes(whole[:place] + (b"" if cut else flipped + whole[place + 1 :]))
    assert cache.get(KEY) is None


def test_a_damaged_entry_is_computed_again(jobs, cache):
    first = here(jobs[:1], cache=cache)
    [path] = (each for each in cache.folder.rglob("*") if each.is_file())
    path.write_bytes(path.read_bytes()[:-1])
    assert_same(here(jobs[:1], cache=cache), first)
    assert cache.get(path.parent.name + path.stem)


def test_where_nothing_can_be_kept_the_work_goes_on(jobs, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    cache = VoiceCache(tmp_path / "file" / "voices")
    assert here(jobs[:2], cache=cache)[0].embedding
    assert "voices cannot be kept in" in cache.problem
    assert "computes them again" in cache.problem


def test_voices_are_kept_with_all_data_or_in_the_users_cache(membrane_home, monkeypatch):
    assert cache_folder() == membrane_home / "cache" / "voices"
    monkeypatch.delenv("MEMBRANE_HOME")
    assert cache_folder().name == "voices"
    assert "membrane" in cache_folder().parts
    assert str(membrane_home) not in os.fspath(cache_folder())


def test_no_jobs_are_no_work():
    assert hear([], Settings()) == []


def test_conditions_and_seeds_are_heard_as_they_are_kept(jobs, cache):
    noisy = [replace(jobs[1], condition=each) for each in conditions(noise="pink", snr=[10])]
    first = here(noisy, cache=cache)
    assert_same(here(noisy), first)
    assert (first[0].embedding.vector != first[1].embedding.vector).any()
    assert first[1].quality.snr_db == pytest.approx(10, abs=2)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups")
def test_ctrl_c_keeps_what_was_computed_and_leaves_no_worker(
    recordings, cache, environment, monkeypatch
):
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(recordings), str(cache.folder)]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        told = int(program.stdout.readline())
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does: the workers hear it, too
        _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (1, "interrupted\n")
    assert_group_ends(program.pid)
    assert all(path.suffix == ".voice" for path in cache.folder.rglob("*") if path.is_file())

    missing = []

    def pretend(function, calls, **options):
        missing.extend(calls)
        yield from ((key, Heard(None, None, problem="unreadable")) for key, _ in calls)

    monkeypatch.setattr(keeping, "as_they_finish", pretend)
    jobs = many_jobs(recordings)
    hear(jobs, Settings(), cache=cache)
    assert told <= len(jobs) - len(missing) == len(list(cache.folder.rglob("*.voice"))) < len(jobs)
