"""What the documents say can be done: their commands, links, files and settings."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from typer import TyperException
from typer.main import get_command

from membrane.cli import app
from membrane.phrase.recognizer import ENGINES
from membrane.settings import CHOICES, Settings
from membrane.voice.encoder import ENCODERS

ROOT = Path(__file__).resolve().parents[1]
README, SETTINGS = ROOT / "README.md", ROOT / "docs" / "settings.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
WRITTEN = (*PAGES, ROOT / "CHANGELOG.md", ROOT / "weights" / "MEMBRANE.md")

PROGRAM = get_command(app)
PYTHON = {"python", "python3", ".venv/bin/python"}
LEADING = {"if", "while", "!", "exec", "sudo"}
ENDS = {";", "|", "||", "&", "&&", ">", "<", ">>", "(", ")"}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
TOLD = re.compile(r"(membrane( |$)|make |python (-m benchmarks|benchmarks/|scripts/))")

HEARD = {"compare", "enroll", "explain", "identify", "transcribe", "verify"}
"""Commands that need a microphone unless the documents name recordings."""

QUICK = HEARD | {"clear", "delete", "export", "list", "log", "unlock"}
"""Commands that are run. The others need long, a network, a key or a history: they are parsed."""


# ---- The commands in a document


def command_lines(text):
    """Yield the command lines of a document: indented, fenced, or inline ones of the project."""
    outside = FENCE.sub("", text)
    indented = "\n".join(line.strip() for line in outside.splitlines() if line.startswith("    "))
    for block in (indented, *(body for _, body in FENCE.findall(text))):
        yield from block.replace("\\\n", " ").splitlines()
    for span in INLINE.findall(outside):
        if TOLD.match(span):
            yield span.replace("\\|", "|")


def words_of(line):
    """Return the words of the first command in a line, without what a shell puts around it."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.wordchars += "$…"
    words = []
    try:
        for word in lexer:
            if word in ENDS:
                break
            words.append(word)
    except ValueError:  # prose with an apostrophe is no command
        return []
    while words and (words[0] in LEADING or re.match(r"[A-Za-z_]+=", words[0])):
        del words[0]
    if words and words[0] in {"timeout", "torchrun"}:
        programs = [at for at, word in enumerate(words) if word == "membrane"]
        return words[programs[0] :] if programs else []
    return words


def commands(first, pages=PAGES):
    """Return the words of every command of a program, each once, named for where it stands."""
    found = {}
    for page in pages:
        for line in command_lines(page.read_text()):
            words = tuple(words_of(line))
            if words and first(words):
                found.setdefault(words, f"{page.name}: {shlex.join(words)}")
    return [pytest.param(words, id=name) for words, name in found.items()]


def of_membrane(words):
    return Path(words[0]).name == "membrane" and not Path(words[0]).suffix


def of_python(words):
    """Whether Python runs something of this project."""
    script = words[1] if len(words) > 1 else ""
    return words[0] in PYTHON and (
        script.startswith(("benchmarks/", "scripts/"))
        or (script == "-m" and words[2].partition(".")[0] == "benchmarks")
    )


MEMBRANE = commands(of_membrane)


# ---- membrane


def understood(arguments):
    """Return the command that reads these arguments, and raise what it would refuse in them."""
    command, rest = PROGRAM, list(arguments)
    context = PROGRAM.make_context("membrane", [])
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        _, command, rest = command.resolve_command(context, rest)
    if hasattr(command, "commands"):
        known = {option for parameter in command.get_params(context) for option in parameter.opts}
        assert set(rest) <= known, f"no such option: {rest}"
    elif "--help" not in rest:
        command.make_context(command.name, rest, parent=context)
    return command


@pytest.mark.parametrize("words", MEMBRANE)
def test_membrane_understands_every_command(words):
    command = understood([word for word in words[1:] if word != "…"])
    assert command.name in {"membrane", *words}


@pytest.mark.parametrize(
    "line", ["membrane enrol", "membrane verify --fast", "membrane list --security lax"]
)
def test_a_command_that_does_not_exist_is_found(line):
    (words,) = [words_of(found) for found in command_lines(f"    {line}\n")]
    with pytest.raises(TyperException, match=r"(?i)no such|is not one of"):
        understood(words[1:])


SPOKEN = {
    "one.wav": ("ada", "enrol", 0),
    "two.wav": ("ada", "enrol", 1),
    "three.wav": ("ada", "enrol", 2),
    "other.wav": ("ada", "login", 1),
    "login.wav": ("ada", "login", 0),
    "later.wav": ("ada", "login", 1),
}
"""The recordings that the documents name, each a synthetic one."""


@pytest.fixture
def in_a_folder_of_recordings(tmp_path, monkeypatch, recording):
    folder = tmp_path / "here"
    folder.mkdir()
    for name, chosen in SPOKEN.items():
        # Sound is recognised by what it holds, whatever it is called.
        shutil.copy(recording(*chosen), folder / name)
    monkeypatch.chdir(folder)


def can_be_run(words):
    name = words[1] if len(words) > 1 else ""
    files = [word for word in words if word.endswith((".wav", ".flac"))]
    needs_ears = name in HEARD and not files
    placeholders = [word for word in words if word in {"…", "A", "B", "FILE", "FOLDER"}]
    return name in QUICK and not needs_ears and not placeholders and set(files) <= set(SPOKEN)


RUN = [command for command in MEMBRANE if can_be_run(command.values[0])]


@pytest.mark.parametrize("words", RUN)
@pytest.mark.usefixtures("in_a_folder_of_recordings")
def test_commands_do_what_the_documents_say(words, three_enrolled, membrane_home, answer):
    """Every quick command ends in 0: names are ada's, and she is enrolled where she has to be."""
    if words[1] != "enroll" or {"--add", "--reencode", "--replace"} & set(words):
        shutil.copytree(three_enrolled.parent, membrane_home)
    agreed = ["--yes"] if words[1] in {"clear", "delete"} else []
    arguments = ["ada" if word == "NAME" else word for word in words[1:]]
    code, _ = answer(*arguments, *agreed)
    assert code == 0


def test_the_commands_of_the_quick_start_are_run():
    assert {"enroll", "verify", "compare"} <= {command.values[0][1] for command in RUN}


@pytest.mark.usefixtures("enrolled", "in_a_folder_of_recordings")
def test_the_python_in_the_readme_lets_ada_in(capsys):
    (code,) = (body for language, body in FENCE.findall(README.read_text()) if language == "python")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("True ")


# ---- Benchmarks, scripts and make


@cache
def help_of(*command):
    ended = subprocess.run(
        [sys.executable, *command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("words", commands(of_python))
def test_every_benchmark_and_script_is_here_and_knows_its_options(words):
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]), words[2]
        command, rest = words[1:3], words[3:]
    else:
        assert (ROOT / words[1]).is_file()
        command, rest = words[1:2], words[2:]
    asked = [word for word in rest if word.startswith("-")]
    if asked:
        known = set(re.findall(r"--?[a-z][a-z-]*", help_of(*command)))
        assert set(asked) <= known


@pytest.mark.parametrize("words", commands(lambda words: words[0] == "make"))
def test_every_target_of_make_is_in_the_makefile(words):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words[1:]) <= set(targets)


# ---- Links, files, settings and the help


def anchors(page):
    """Return the names that a page's headings can be linked by."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_project_that_a_page_names_exists(page):
    named = r"`((?:benchmarks|docs|membrane|scripts|tests|weights)/[\w./-]+)`"
    for name in re.findall(named, page.read_text()):
        assert (ROOT / name).exists(), name


def test_the_readme_is_one_page():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1200


def told_settings():
    """Return the cells of each row in the table of settings."""
    rows = re.findall(r"^\| `([a-z]+)` \|(.*)\|$", SETTINGS.read_text(), re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in rows}


def test_the_page_of_settings_has_each_of_them_with_its_default_and_its_values():
    told = told_settings()
    choices = {**CHOICES, "encoder": ENCODERS, "recognizer": ENGINES}
    assert list(told) == [field.name for field in fields(Settings)]
    for field in fields(Settings):
        variable, values, default, meaning = told[field.name]
        assert variable == f"`MEMBRANE_{field.name.upper()}`"
        if field.name in choices:
            assert set(re.findall(r"`(.*?)`", values)) == set(choices[field.name])
        if field.default:
            assert default == f"`{field.default}`"
        else:
            assert default in {
                "none",
                "as calibrated",
                "the default microphone",
                "`voiceprints.joblib` in the data folder",
            }
        assert meaning


def test_the_page_of_commands_is_what_help_says():
    ended = subprocess.run(
        [sys.executable, "docs/make_commands.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
