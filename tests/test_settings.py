from dataclasses import fields
from pathlib import Path

import pytest

from membrane.errors import UsageError
from membrane.settings import (
    CHOICES,
    MOST_ATTEMPTS,
    Settings,
    home,
    load_settings,
    models_folder,
    settings_file,
)


@pytest.fixture
def write_settings(membrane_home):
    def write(text, **options):
        membrane_home.mkdir(exist_ok=True)
        (membrane_home / "settings.toml").write_text(text, **options)

    return write


def test_without_anything_chosen_the_defaults_hold(membrane_home):
    chosen = load_settings()
    assert chosen == Settings()
    assert chosen.database_path == membrane_home / "voiceprints.joblib"
    assert (chosen.security, chosen.metric, chosen.denoise) == ("balanced", "cosine", "auto")
    assert (chosen.prompt, chosen.attempts, chosen.recognizer) == ("digits", 3, "pocketsphinx")


def test_without_anything_chosen_logins_are_guarded():
    chosen = load_settings()
    assert (chosen.lockout, chosen.replay, chosen.log) == ("on", "refuse", "on")
    assert (chosen.scores, chosen.adapt, chosen.protection) == ("hide", "off", "optional")


def test_one_variable_moves_all_data(membrane_home):
    assert home() == membrane_home
    assert models_folder() == membrane_home / "models"
    assert settings_file() == membrane_home / "settings.toml"


def test_without_it_the_users_data_folder_is_home(monkeypatch, tmp_path):
    monkeypatch.delenv("MEMBRANE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in home().parents
    assert home().name == "membrane"


def test_home_may_begin_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MEMBRANE_HOME", "~/voices")
    assert home() == tmp_path / "voices"


def test_a_home_of_nobody_is_refused(monkeypatch):
    monkeypatch.setenv("MEMBRANE_HOME", "~nobody-of-that-name")
    with pytest.raises(UsageError, match="MEMBRANE_HOME is '~nobody-of-that-name'"):
        load_settings()


def test_options_win_over_the_environment_and_that_over_the_file(write_settings, monkeypatch):
    write_settings('security = "convenient"\nattempts = 1\nmetric = "euclidean"\n')
    assert load_settings().security == "convenient"
    monkeypatch.setenv("MEMBRANE_SECURITY", "strict")
    monkeypatch.setenv("MEMBRANE_ATTEMPTS", "2")
    chosen = load_settings(attempts=5)
    assert (chosen.metric, chosen.security, chosen.attempts) == ("euclidean", "strict", 5)


def test_an_option_that_is_not_given_changes_nothing(monkeypatch):
    monkeypatch.setenv("MEMBRANE_SECURITY", "strict")
    assert load_settings(security=None).security == "strict"


def test_an_empty_variable_is_not_set(monkeypatch):
    monkeypatch.setenv("MEMBRANE_SECURITY", "")
    assert load_settings().security == "balanced"


def test_other_variables_of_membrane_are_no_settings(monkeypatch):
    monkeypatch.setenv("MEMBRANE_DEBUG", "1")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("database", "/data/a.joblib", Path("/data/a.joblib")),
        ("model", "m.tflite", Path("m.tflite")),
        ("threshold", "0.75", 0.75),
        ("attempts", "10", 10),
        ("device", "USB", "USB"),
        ("device", "1", "1"),
        ("results", "r.csv", Path("r.csv")),
        ("denoise", "never", "never"),
        ("prompt", "words", "words"),
        ("lockout", "off", "off"),
        ("replay", "allow", "allow"),
        ("scores", "show", "show"),
        ("adapt", "on", "on"),
        ("log", "off", "off"),
        ("protection", "required", "required"),
    ],
)
def test_every_source_gives_a_value_of_the_right_type(
    write_settings, monkeypatch, name, text, value
):
    monkeypatch.setenv("MEMBRANE_RECOGNIZER", "deepspeech")  # only that one takes a model
    write_settings(f"{name} = '{text}'\n")
    assert getattr(load_settings(), name) == value
    write_settings("")
    monkeypatch.setenv(f"MEMBRANE_{name.upper()}", text)
    assert getattr(load_settings(), name) == value
    assert type(getattr(load_settings(), name)) is type(value) or isinstance(value, Path)
    monkeypatch.delenv(f"MEMBRANE_{name.upper()}")
    assert getattr(load_settings(**{name: text}), name) == value


def test_paths_may_begin_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_settings(database="~/v.joblib").database_path == tmp_path / "v.joblib"


def test_numbers_may_be_numbers_in_the_file(write_settings):
    write_settings("threshold = 0.8\nattempts = 2\n")
    chosen = load_settings()
    assert (chosen.threshold, chosen.attempts) == (0.8, 2)


WRONG = [
    ("security", "paranoid", "convenient, balanced, strict"),
    ("metric", "manhattan", "cosine, euclidean"),
    ("denoise", "yes", "auto, always, never"),
    ("prompt", "poem", "digits, words"),
    ("lockout", "no", "on, off"),
    ("replay", "on", "refuse, allow"),
    ("scores", "on", "hide, show"),
    ("adapt", "always", "on, off"),
    ("log", "0", "on, off"),
    ("protection", "on", "optional, required"),
    ("threshold", "high", "must be a number"),
    ("threshold", "nan", "finite"),
    ("threshold", "inf", "finite"),
    ("attempts", "0", "1 to 10"),
    ("attempts", "11", "1 to 10"),
    ("attempts", "-1", "1 to 10"),
    ("attempts", "2.5", "a whole number, 1 to 10"),
    ("attempts", "three", "whole number"),
    ("database", "~nobody-of-that-name/x", "home directory"),
]


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_a_wrong_option_is_refused_in_one_line(name, value, told):
    with pytest.raises(UsageError, match=told) as refused:
        load_settings(**{name: value})
    assert name in str(refused.value)
    assert "an option sets" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_a_wrong_variable_is_refused_in_one_line(monkeypatch, name, value, told):
    monkeypatch.setenv(f"MEMBRANE_{name.upper()}", value)
    with pytest.raises(UsageError, match=told) as refused:
        load_settings()
    assert name in str(refused.value)
    assert "the environment" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("security = 'paranoid'", "convenient"),
        ("security = 3", "must be text"),
        ("lockout = false", "must be text"),
        ("log = 0", "must be text"),
        ("device = 3", "device to 3: it must be text in quotes"),
        ("device = true", "device"),
        ("attempts = true", "attempts"),
        ("attempts = 2.5", "attempts"),
        ("attempts = []", "attempts"),
        ("threshold = true", "threshold"),
        ("threshold = nan", "finite"),
        ("threshold = {}", "threshold"),
        ("database = 3", "must be text"),
        ("securty = 'strict'", "securty.*does not exist"),
        (f"{'x' * 9000} = 'strict'", "x{50}.*does not exist"),
        (f"security = '{'x' * 9000}'", "x{50}: choose from"),
        ("[security]\nlevel = 'strict'", "security"),
        ("security = ", "cannot be read"),
        ("security", "cannot be read"),
    ],
)
def test_a_wrong_line_in_the_file_is_refused_in_one_line(write_settings, text, told):
    write_settings(text)
    with pytest.raises(UsageError, match=told) as refused:
        load_settings()
    assert "settings.toml" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_file_that_is_no_text_is_refused(membrane_home):
    membrane_home.mkdir()
    (membrane_home / "settings.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings()


def test_a_folder_in_place_of_the_file_is_refused(membrane_home):
    (membrane_home / "settings.toml").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings()


def test_a_file_where_the_home_should_be_is_no_home(membrane_home):
    membrane_home.write_text("")
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings()


def test_every_choice_is_a_setting_whose_default_is_one_of_them():
    defaults = {field.name: field.default for field in fields(Settings)}
    for name, choices in CHOICES.items():
        assert defaults[name] in choices or not defaults[name]
        for choice in choices:
            assert getattr(load_settings(**{name: choice}), name) == choice


def test_only_the_strictest_level_is_strict():
    assert Settings(security="strict").strict
    assert not Settings(security="balanced").strict


def test_most_attempts_may_be_chosen():
    assert load_settings(attempts=MOST_ATTEMPTS).attempts == MOST_ATTEMPTS


def test_a_threshold_is_a_number_that_the_metric_can_give():
    # A distance of -1, squared, would let in strangers; one of 3 everybody; a cosine of 85 nobody.
    for metric, threshold in (("euclidean", "-1"), ("euclidean", "3"), ("cosine", "85")):
        with pytest.raises(UsageError, match=r"is no (cosine|distance): use -?\d to \d"):
            load_settings(metric=metric, threshold=threshold)
    for metric, threshold in (("euclidean", "0"), ("euclidean", "2"), ("cosine", "-1")):
        assert load_settings(metric=metric, threshold=threshold).threshold == float(threshold)


def test_a_threshold_of_one_metric_is_never_read_in_another(write_settings):
    write_settings("threshold = 0.85")
    assert load_settings().threshold == 0.85
    with pytest.raises(UsageError, match=r"an option sets metric .* 0\.85 already: set both"):
        load_settings(metric="euclidean")
    assert load_settings(metric="euclidean", threshold=0.5).threshold == 0.5


@pytest.mark.parametrize("name", ["model", "scorer"])
def test_files_for_deepspeech_are_not_given_to_another_recognizer(name, tmp_path):
    with pytest.raises(UsageError, match="is for deepspeech, not for pocketsphinx"):
        load_settings(**{name: tmp_path})
    assert getattr(load_settings(recognizer="deepspeech", **{name: tmp_path}), name) == tmp_path
