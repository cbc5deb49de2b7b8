"""The help of every command: options below headings, and two examples that the command itself understands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from geoseg.cli.console import GroupedCommand
from geoseg.cli.main import geoseg
from geoseg.options import GROUPS

HEADINGS = {f"{group}:" for group in GROUPS}
FEWEST = 2


def walk_commands(context: click.Context) -> Iterator[click.Context]:
    """A command and all below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            found = context.command.get_command(context, name)
            assert found
            yield from walk_commands(click.Context(found, info_name=name, parent=context))


COMMANDS = list(walk_commands(click.Context(geoseg, info_name="geoseg")))


def list_examples(help_text: str) -> list[str]:
    """Command lines below the word Examples; a line that begins with an option goes on with the one before."""
    lines = [line.strip() for line in help_text.partition("Examples:\n")[2].split("\n\n")[0].splitlines()]
    return "\n".join(lines).replace("\n--", " --").splitlines()


@pytest.mark.parametrize("context", COMMANDS, ids=[each.command_path for each in COMMANDS])
def test_every_help_has_two_examples_that_can_be_typed(context: click.Context) -> None:
    examples = list_examples(context.get_help())
    assert len(examples) >= FEWEST
    assert any(each.startswith(context.command_path) for each in examples) or context.parent is None
    for example in examples:
        program, *words = shlex.split(example.partition(" > ")[0])
        assert program == "geoseg"
        parse(geoseg, words)


def test_the_app_has_no_option_to_trust_files() -> None:
    """It takes files of strangers, and would not start."""
    told = {each.command_path: each.get_help() for each in COMMANDS}
    assert "--trust" in told["geoseg infer"]
    assert "--trust" not in told["geoseg app"]


def parse(command: click.Command, words: list[str]) -> None:
    """Let a command read its arguments, and do nothing."""
    with command.make_context("geoseg", words) as context:
        if isinstance(command, click.Group):
            _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            assert found
            parse(found, rest)


@pytest.mark.parametrize("context", COMMANDS, ids=[each.command_path for each in COMMANDS])
def test_options_of_every_help_stand_below_headings(context: click.Context) -> None:
    if isinstance(context.command, click.Group):
        return
    assert isinstance(context.command, GroupedCommand)
    text = context.get_help()
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert set(headings) <= HEADINGS - {"Options:"}
    assert headings[-1] == "Messages:"
