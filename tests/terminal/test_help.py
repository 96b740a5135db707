import pytest
from typer.main import get_command

from membrane.cli import app
from membrane.terminal.help import EXAMPLES, HEADINGS


def _commands(group, *names):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, *names, name)
        else:
            yield " ".join((*names, name)), command


COMMANDS = dict(_commands(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_under_a_heading_and_two_examples_end_the_help(name, answer, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    code, text = answer(*name.split(), "--help")
    assert code == 0
    options, _, examples = text.partition("\nExamples:\n")
    headings = [line[:-1] for line in options.splitlines() if line[:-1] in HEADINGS]
    assert headings == [heading for heading in HEADINGS if heading in headings]
    assert "Options:" not in options
    for option in (name for param in COMMANDS[name].params for name in param.opts):
        assert not option.startswith("-") or option in options
    assert [line.strip() for line in examples.strip().splitlines()] == list(EXAMPLES[name])


def test_there_are_examples_of_every_command_and_no_other():
    assert set(EXAMPLES) == set(COMMANDS)
