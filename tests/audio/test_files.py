import io
import os
import pickle
import resource
import stat
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.audio import files
from membrane.audio.files import read_utterance, save_recording
from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import (
    MembraneError,
    NoSuchFile,
    OutputUnwritable,
    RecordingTooLong,
    UndecodableAudio,
    UnusableRecording,
    UsageError,
)

WAV_SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"]
RATES = [8000, 11025, 16000, 22050, 44100, 48000, 96000]
ENDINGS = ["wav", "flac", "ogg", "mp3"]


@pytest.fixture(scope="module")
def voice(utterance_of):
    return utterance_of("farid", "login").samples


def likeness(one, other):
    """Return the cosine of two signals at the best shift of up to 0.2 s."""
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    crossed = np.fft.irfft(
        np.fft.rfft(one, 2 * length) * np.conj(np.fft.rfft(other, 2 * length)), 2 * length
    )
    shifts = np.concatenate([crossed[:3200], crossed[-3200:]])
    return float(shifts.max() / np.linalg.norm(one) / np.linalg.norm(other))


def level(samples):
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def encoded(samples, rate=SAMPLE_RATE, container="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def pipe_into(monkeypatch, content):
    class Standard:
        buffer = io.BytesIO(content)

        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", Standard())


# ---- What is read


@pytest.mark.parametrize("subtype", WAV_SUBTYPES)
def test_every_kind_of_wav_sounds_the_same(tmp_path, voice, subtype):
    path = tmp_path / "voice.wav"
    loud = voice / np.abs(voice).max()
    soundfile.write(path, loud, SAMPLE_RATE, subtype=subtype)
    utterance = read_utterance(path)
    assert len(utterance.samples) == len(loud)
    assert likeness(utterance.samples, loud) > 0.998
    assert level(utterance.samples) == pytest.approx(level(loud), rel=0.02)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_at_every_rate_sounds_the_same(tmp_path, voice, ending, rate):
    if (ending, rate) == ("mp3", 96000):
        pytest.skip("MP3 knows no rate above 48 kHz")
    path = tmp_path / f"voice.{ending}"
    soundfile.write(path, soxr.resample(voice, SAMPLE_RATE, rate), rate)
    utterance = read_utterance(path)
    assert utterance.source_rate == rate
    assert utterance.seconds == pytest.approx(len(voice) / SAMPLE_RATE, abs=0.15)
    assert likeness(utterance.samples, voice) > 0.97
    assert level(utterance.samples) == pytest.approx(level(voice), rel=0.1)


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_pitch_its_level_and_its_length(tmp_path, tone, rate):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate), rate, subtype="FLOAT")
    samples = read_utterance(path).samples
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=2)
    middle = samples[1000:-1000]
    np.testing.assert_allclose(middle, tone(SAMPLE_RATE)[1000 : 1000 + len(middle)], atol=2e-3)


def test_resampling_does_not_fold_high_tones_into_the_speech(tmp_path, tone):
    path = tmp_path / "whistle.wav"
    soundfile.write(path, tone(48000, frequency=11_000), 48000, subtype="FLOAT")
    assert level(read_utterance(path).samples[500:-500]) < 1e-4


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(tmp_path, tone, channels):
    path = tmp_path / "tone.wav"
    gains = np.linspace(0.5, 1, channels)
    soundfile.write(path, np.outer(tone(), gains), SAMPLE_RATE, subtype="FLOAT")
    expected = tone() * np.float32(gains.mean())
    np.testing.assert_allclose(read_utterance(path).samples, expected, atol=1e-6)


def test_peaks_of_floating_point_files_are_scaled_down_not_cut_off(tmp_path, tone):
    path = tmp_path / "loud.wav"
    soundfile.write(path, tone() * 8, SAMPLE_RATE, subtype="FLOAT")
    samples = read_utterance(path).samples
    np.testing.assert_allclose(samples, tone() / np.abs(tone()).max(), atol=1e-6)


def test_a_file_says_where_it_comes_from(tmp_path, voice):
    path = tmp_path / "voice.flac"
    soundfile.write(path, voice, 22050)
    utterance = read_utterance(str(path))
    assert (utterance.source, utterance.source_rate) == (str(path), 22050)
    assert utterance.device == ""
    assert len(utterance.ambient) == 0


def test_the_content_counts_not_the_ending(tmp_path, voice):
    for ending in ("txt", "raw", "mp3", ""):
        path = tmp_path / f"voice.{ending}"
        path.write_bytes(encoded(voice))
        assert len(read_utterance(path).samples) == len(voice)


def test_the_other_formats_that_speech_comes_in_are_read_too(tmp_path, voice):
    for container in ("AIFF", "AU", "CAF", "W64", "RF64", "NIST", "VOC"):
        path = tmp_path / "voice"
        path.write_bytes(encoded(voice, container=container, subtype="PCM_16"))
        assert len(read_utterance(path).samples) == len(voice), container


# ---- Pipes


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_standard_input_is_read(monkeypatch, voice, container):
    pipe_into(monkeypatch, encoded(voice, container=container))
    utterance = read_utterance("-")
    assert utterance.source == "standard input"
    assert likeness(utterance.samples, voice) > 0.97


def test_a_wav_whose_writer_could_not_go_back_to_its_header_is_read(monkeypatch, voice):
    content = bytearray(encoded(voice))
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    assert content[36:40] == b"data"
    pipe_into(monkeypatch, bytes(content))
    assert len(read_utterance("-").samples) == len(voice)


def test_a_flac_whose_writer_could_not_go_back_to_its_header_is_read(monkeypatch, voice):
    content = bytearray(encoded(voice, container="FLAC"))
    assert content[:4] == b"fLaC"
    # The last 36 of the 64 bits of rate, channels, bits and length (RFC 9639, section 8.2).
    packed = int.from_bytes(content[18:26])
    assert packed & (2**36 - 1) == len(voice)
    content[18:26] = (packed >> 36 << 36).to_bytes(8)
    content[26:42] = bytes(16)
    pipe_into(monkeypatch, bytes(content))
    assert len(read_utterance("-").samples) == len(voice)


def test_a_named_pipe_is_read(tmp_path, voice):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[encoded(voice)])
    writer.start()
    assert len(read_utterance(pipe).samples) == len(voice)
    writer.join()


def test_a_pipe_without_end_is_refused(monkeypatch, voice):
    monkeypatch.setattr(files, "LARGEST_FILE", 1 << 20)
    pipe_into(monkeypatch, encoded(voice) + bytes(2 << 20))
    with pytest.raises(RecordingTooLong, match="standard input holds more than 1 MB"):
        read_utterance("-")


def test_a_terminal_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="pipe a recording into it"):
        read_utterance("-")


def test_a_closed_standard_input_is_said_to_be_one(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input"):
        read_utterance("-")


# ---- Too long


@pytest.mark.parametrize("container", ["FLAC", "WAV"])
def test_two_hours_are_refused_at_once_and_without_filling_the_memory(tmp_path, container):
    path = tmp_path / "long"
    samples = 2 * 3600 * SAMPLE_RATE
    if container == "WAV":
        path.write_bytes(wav_header(size=2 * samples)[:44])
        os.truncate(path, 2 * samples + 44)
    else:
        path.write_bytes(encoded(np.zeros(samples, dtype=np.int16), container=container))
    read_utterance_once_to_import()
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(RecordingTooLong, match="longer than 300 s: cut it"):
        read_utterance(path)
    took = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 2
    assert peak < 10e6


def test_a_small_file_that_holds_many_channels_is_not_unpacked(tmp_path):
    path = tmp_path / "sparse.wav"
    channels, rate, seconds = 1024, 4000, 10
    size = channels * rate * seconds
    path.write_bytes(wav_header(channels=channels, rate=rate, size=size, bits=8)[:44])
    os.truncate(path, 44 + size)
    with pytest.raises(RecordingTooLong, match="1024 channels at 4000 Hz"):
        read_utterance(path)


def test_five_minutes_of_stereo_are_not_too_much(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros((300 * 48_000, 2), np.int16), 48_000)
    assert read_utterance(path).seconds == 300


def test_a_coding_that_is_slow_to_decode_may_hold_less(tmp_path):
    path = tmp_path / "slow.au"
    sound = np.zeros(250 * SAMPLE_RATE, np.int16)
    soundfile.write(path, sound, SAMPLE_RATE, subtype="G723_24")
    assert read_utterance(path).seconds == pytest.approx(250, abs=0.1)
    soundfile.write(
        path, np.append(sound, sound[: 15 * SAMPLE_RATE]), SAMPLE_RATE, subtype="G723_24"
    )
    with pytest.raises(RecordingTooLong, match="too many samples"):
        read_utterance(path)


@pytest.mark.parametrize("container", ["FLAC", "OGG", "MP3", "WAV"])
def test_a_hole_of_many_gigabytes_is_not_searched_for_more_sound(tmp_path, voice, container):
    path = tmp_path / "sparse"
    content = encoded(voice, container=container)
    path.write_bytes(content[: len(content) // 2])
    os.truncate(path, 1 << 40)
    with pytest.raises(RecordingTooLong, match="holds more than 256 MB"):
        read_utterance(path)


def test_what_is_decoded_is_counted_where_the_header_does_not_tell(monkeypatch, voice):
    content = bytearray(encoded(np.repeat(voice[:, np.newaxis], 8, axis=1), container="FLAC"))
    packed = int.from_bytes(content[18:26])
    content[18:26] = (packed >> 36 << 36).to_bytes(8)
    pipe_into(monkeypatch, bytes(content))
    monkeypatch.setattr(files, "MOST_DECODED", 8 * len(voice) - 1)
    with pytest.raises(RecordingTooLong, match="8 channels"):
        read_utterance("-")


def read_utterance_once_to_import():
    with pytest.raises(NoSuchFile):
        read_utterance("no such file")


def test_a_length_that_the_header_does_not_tell_is_counted(monkeypatch, tmp_path, voice):
    monkeypatch.setattr(files, "LONGEST_S", 2.0)
    path = tmp_path / "voice.mp3"
    soundfile.write(path, voice, SAMPLE_RATE)
    with pytest.raises(RecordingTooLong, match="longer than 2 s"):
        read_utterance(path)
    soundfile.write(path, voice[: int(1.5 * SAMPLE_RATE)], SAMPLE_RATE)
    assert read_utterance(path).seconds < 2


def test_the_longest_recording_is_read_whole(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(300 * SAMPLE_RATE, dtype=np.int16), SAMPLE_RATE)
    assert read_utterance(path).seconds == 300


# ---- Refused


def wav_header(*, rate=16000, channels=1, size=None, bits=16):
    content = bytes(3200)
    size = len(content) if size is None else size
    width = channels * bits // 8
    return (
        b"RIFF"
        + struct.pack("<I", (size + 36) % 2**32)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * width % 2**32, width % 2**16, bits)
        + b"data"
        + struct.pack("<I", size)
        + content
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"This is a text.\n" * 100,
        b"RIFF",
        b"RIFF\xff\xff\xff\xffWAVE",
        b"fLaC" + bytes(100),
        b"OggS" + bytes(100),
        b"ID3" + bytes(200),
        bytes(10_000),
        wav_header(rate=0),
        wav_header(rate=2**32 - 1),
        wav_header(rate=3999),
        wav_header(channels=0),
        wav_header(channels=65535),
        wav_header(bits=0),
        wav_header(size=0),
        wav_header()[:30],
        wav_header()[:44],
    ],
)
def test_what_is_not_audio_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "claims.wav"
    path.write_bytes(content)
    with pytest.raises(UndecodableAudio) as refused:
        read_utterance(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_header_that_claims_four_gigabytes_fills_no_memory(tmp_path):
    path = tmp_path / "claims.wav"
    path.write_bytes(wav_header(size=2**32 - 1))
    tracemalloc.start()
    samples = read_utterance(path).samples
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(samples) == 1600
    assert peak < 1e6


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_truncated_file_is_read_as_far_as_it_goes_or_refused(tmp_path, voice, container, share):
    content = encoded(voice, container=container)
    path = tmp_path / "half"
    path.write_bytes(content[: int(len(content) * share)])
    try:
        seconds = read_utterance(path).seconds
    except UndecodableAudio:
        return
    assert seconds <= len(voice) / SAMPLE_RATE + 0.15


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_numbers_that_are_not_finite_are_refused(tmp_path, voice, number, rate):
    path = tmp_path / "odd.wav"
    odd = voice.copy()
    odd[20_000] = number
    soundfile.write(path, odd, rate, subtype="FLOAT")
    with pytest.raises(UndecodableAudio, match="not finite"):
        read_utterance(path)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("odd", [(np.inf, -np.inf), (3e38, 3e38), (np.nan, 0)])
def test_channels_whose_sum_is_not_finite_are_refused_without_a_warning(tmp_path, rate, odd):
    path = tmp_path / "odd.wav"
    sound = np.full((rate, 2), 0.1)
    sound[rate // 2] = odd
    soundfile.write(path, sound, rate, subtype="FLOAT")
    with pytest.raises(UndecodableAudio, match="not finite"):
        read_utterance(path)


@pytest.mark.parametrize("container", ["SDS", "MAT5", "PAF", "XI", "HTK", "SVX"])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\x00\x00\x00\x00\x01\x01" + bytes(129)])
def test_formats_that_nobody_records_speech_with_reach_no_decoder(
    monkeypatch, voice, container, tag
):
    pipe_into(monkeypatch, tag + encoded(voice, container=container))
    monkeypatch.setattr(soundfile, "SoundFile", None)
    with pytest.raises(UndecodableAudio, match="give WAV, FLAC, OGG or MP3"):
        read_utterance("-")


def test_a_tag_in_front_of_an_mp3_is_skipped(monkeypatch, voice):
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x01" + bytes(129)
    pipe_into(monkeypatch, tag + encoded(voice, container="MP3"))
    assert likeness(read_utterance("-").samples, voice) > 0.97


def test_tags_without_end_are_not_gone_through(tmp_path, voice):
    path = tmp_path / "tags.mp3"
    path.write_bytes((b"ID3\x04" + bytes(6)) * 5 + encoded(voice, container="MP3"))
    with pytest.raises(UndecodableAudio, match="give WAV, FLAC, OGG or MP3"):
        read_utterance(path)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_the_largest_number_is_within_range_or_refused(tmp_path, voice, rate):
    path = tmp_path / "odd.wav"
    odd = voice.copy()
    odd[20_000] = np.finfo(np.float32).max
    soundfile.write(path, odd, rate, subtype="FLOAT")
    try:
        samples = read_utterance(path).samples
    except UndecodableAudio:
        return
    assert np.abs(samples).max() <= 1


def test_no_name_at_all_is_refused_as_that():
    with pytest.raises(NoSuchFile, match="the name of the recording is empty"):
        read_utterance("")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing.wav", "No such file"),
        ("", "Is a directory"),
        ("nul\0.wav", "null byte"),
        ("a" * 5000, "File name too long"),
    ],
)
def test_what_is_not_a_file_is_refused_with_the_reason(tmp_path, path, why):
    with pytest.raises(NoSuchFile, match=why) as refused:
        read_utterance(f"{tmp_path}/{path}")
    assert refused.value.exit_code == 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that cannot be read at its start")
def test_a_file_that_opens_and_cannot_be_read_is_refused():
    with pytest.raises(NoSuchFile, match="Input/output error"):
        read_utterance("/proc/self/mem")


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch, voice):
    path = tmp_path / "mine.wav"
    path.write_bytes(encoded(voice))
    if os.geteuid():
        path.chmod(0)
    else:

        def refuse(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(files.Path, "open", refuse)
    with pytest.raises(NoSuchFile, match="Permission denied"):
        read_utterance(path)


def test_a_damaged_mp3_prints_nothing_itself(tmp_path, voice):
    content = bytearray(encoded(voice, container="MP3"))
    damage = np.random.default_rng(3)
    for place in damage.integers(500, len(content), 200):
        content[place] = damage.integers(256)
    (tmp_path / "damaged.mp3").write_bytes(content)
    code = (
        "import sys; from membrane.audio.files import read_utterance;"
        "print(read_utterance(sys.argv[1]).seconds > 0)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "damaged.mp3")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (shown.stdout.strip(), shown.stderr) == ("True", "")


def test_a_place_that_does_not_exist_is_not_gone_to():
    # libsndfile asks for such places in damaged files and could not let an exception through.
    file = files._Nameless(io.BytesIO(b"RIFF"))
    file.seek(1, os.SEEK_SET)
    for offset in (-5, 2**63):
        file.seek(offset, os.SEEK_SET)
        assert file.tell() == 1


def test_a_disk_that_fails_meanwhile_ends_the_file():
    class Failing(io.BytesIO):
        def read(self, _):
            raise OSError(5, "Input/output error")

    assert files._Nameless(Failing(b"RIFF")).readinto(bytearray(4)) == 0


# ---- Any bytes


def read_or_refuse(content):
    """Read bytes as a recording; whatever is not a MembraneError fails the test."""
    try:
        samples = read_utterance_of(content)
    except UnusableRecording as refused:
        assert "\n" not in str(refused)  # noqa: PT017 - both outcomes are right
        return
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert len(samples)
    assert np.abs(samples).max() <= 1


def read_utterance_of(content):
    with pytest.MonkeyPatch.context() as patched:
        pipe_into(patched, content)
        return read_utterance("-").samples


@given(content=st.binary(max_size=2000))
@settings(max_examples=150, deadline=5000)
def test_arbitrary_bytes_are_read_or_refused(content):
    read_or_refuse(content)


@given(content=st.binary(max_size=300), magic=st.sampled_from([b"RIFF", b"fLaC", b"OggS", b"ID3"]))
@settings(max_examples=150, deadline=5000)
def test_arbitrary_bytes_after_a_magic_number_are_read_or_refused(content, magic):
    read_or_refuse(magic + content)


@given(
    data=st.data(),
    container=st.sampled_from(["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64"]),
)
@settings(max_examples=300, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_header_of_a_real_file_is_read_or_refused(data, container):
    noise = np.random.default_rng(5).normal(0, 0.1, 3000).astype(np.float32)
    content = bytearray(encoded(noise, container=container))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(200, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(content))


# ---- Written


@pytest.mark.parametrize("ending", [".wav", ".flac", ".WAV"])
def test_a_saved_recording_is_read_back(tmp_path, voice, ending):
    path = tmp_path / f"saved{ending}"
    save_recording(path, voice)
    np.testing.assert_allclose(read_utterance(path).samples, voice, atol=1 / 32768)
    assert soundfile.info(path).samplerate == SAMPLE_RATE


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_saved_recording_is_for_its_owner_only_whatever_the_umask(tmp_path, voice):
    before = os.umask(0)
    try:
        save_recording(tmp_path / "saved.wav", voice)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "saved.wav").stat().st_mode) == 0o600


def test_a_saved_recording_replaces_the_one_before(tmp_path, voice):
    path = tmp_path / "saved.wav"
    save_recording(path, voice)
    save_recording(path, voice[:1000])
    assert len(read_utterance(path).samples) == 1000


@pytest.mark.parametrize("name", ["saved.mp3", "saved", "saved.wav.txt"])
def test_another_ending_is_refused_before_anything_is_written(tmp_path, voice, name):
    with pytest.raises(UsageError, match=r"saved as \.wav or \.flac"):
        save_recording(tmp_path / name, voice)
    assert not (tmp_path / name).exists()


def test_a_recording_that_cannot_be_written_is_said_to_be(tmp_path, voice):
    for path in (tmp_path / "missing" / "saved.wav", tmp_path / "folder.wav"):
        (tmp_path / "folder.wav").mkdir(exist_ok=True)
        with pytest.raises(OutputUnwritable, match="cannot be written") as refused:
            save_recording(path, voice)
        assert refused.value.exit_code == 7
        assert "\n" not in str(refused.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_full_disk_is_not_taken_for_a_saved_recording(tmp_path, voice, ending):
    path = tmp_path / f"saved.{ending}"
    path.symlink_to("/dev/full")
    with pytest.raises(OutputUnwritable):
        save_recording(path, voice)


def test_a_disk_that_fills_up_meanwhile_is_noticed(tmp_path, voice):
    code = (
        "import resource, signal, sys\n"
        "import numpy as np\n"
        "from membrane.audio.files import save_recording\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import soundfile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "save_recording(sys.argv[1], np.random.default_rng(0).random(50_000, np.float32) - 0.5)\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    shown = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "saved.wav")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "OutputUnwritable" in shown.stderr


def test_every_refusal_is_a_membrane_error():
    assert issubclass(RecordingTooLong, MembraneError)


# ---- The sound as it is stored


def stereo_48(path):
    chance = np.random.default_rng(0)
    samples = chance.uniform(-0.5, 0.5, (48_000, 2)).astype(np.float32)
    soundfile.write(path, samples, 48_000, subtype="FLOAT")
    return samples


def test_a_file_also_gives_its_sound_as_it_is_stored(tmp_path):
    path = tmp_path / "stereo.wav"
    samples = stereo_48(path)
    for utterance in (read_utterance(path), pickle.loads(pickle.dumps(read_utterance(path)))):
        recorded = utterance.recorded()
        assert recorded.rate == utterance.source_rate == 48_000
        np.testing.assert_array_equal(recorded.samples, samples)


def test_a_pipe_also_gives_its_sound_as_it_came(tmp_path, monkeypatch):
    path = tmp_path / "stereo.wav"
    samples = stereo_48(path)
    pipe_into(monkeypatch, path.read_bytes())
    np.testing.assert_array_equal(read_utterance("-").recorded().samples, samples)


def test_the_sound_of_a_file_that_was_changed_meanwhile_is_not_taken_for_the_judged_one(tmp_path):
    path = tmp_path / "stereo.wav"
    stereo_48(path)
    utterance = read_utterance(path)
    stereo_48(path.with_name("other.wav"))
    path.with_name("other.wav").replace(path)
    with pytest.raises(UndecodableAudio, match="changed meanwhile"):
        utterance.recorded()
    path.unlink()
    with pytest.raises(NoSuchFile):
        utterance.recorded()


def test_sound_without_a_source_is_given_as_it_is():
    samples = np.linspace(-1, 1, 100, dtype=np.float32)
    recorded = Utterance(samples).recorded()
    assert (recorded.rate, recorded.samples.shape) == (SAMPLE_RATE, (100, 1))
    np.testing.assert_array_equal(recorded.samples[:, 0], samples)
