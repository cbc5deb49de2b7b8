"""The `geoseg` command: each subcommand lives in a module of its own name, imported when it is needed."""

from __future__ import annotations

from importlib import import_module

import click

from geoseg import __version__

COMMANDS = ("infer", "vectorize", "stats", "evaluate", "prepare", "train", "models", "demo-scene", "export")


class LazyGroup(click.Group):
    """A group whose commands are found by module name, so that `--help` imports nothing heavy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"geoseg.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="geoseg")
def geoseg() -> None:
    """Building footprints and trustworthy areas from large GeoTIFFs."""


def main() -> None:
    """Run the command line."""
    geoseg()
