"""The `geoseg` command: each subcommand lives in a module of its own name, imported when it is needed.

Also what becomes of large buffers in the memory of its process, once they are freed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import click

from geoseg import __version__
from geoseg.cli.console import CommandGroup

SECTIONS = {
    "Find buildings": ("infer", "vectorize", "app"),
    "See them": ("plot", "report"),
    "Count and compare them": ("stats", "sample", "compare", "publish"),
    "Images and labels": ("export", "prepare", "demo-scene"),
    "Models": ("models", "train", "runs", "evaluate", "calibrate"),
    "This machine": ("doctor",),
}
COMMANDS = tuple(name for names in SECTIONS.values() for name in names)


class LazyGroup(CommandGroup):
    """A group whose commands are found by module name, so that `--help` imports nothing heavy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def list_sections(self, ctx: click.Context) -> Mapping[str, Sequence[str]]:
        return SECTIONS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"geoseg.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click looks for similar names among loaded commands only
            raise click.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="geoseg")
def geoseg() -> None:
    """Building footprints and trustworthy areas from large GeoTIFFs.

    \b
    Examples:
      geoseg infer scene.tif --out buildings.gpkg
      geoseg app
    """


def main() -> None:
    """Run the command line."""
    open_missing_streams()
    geoseg()


def open_missing_streams() -> None:
    """Let what a scheduler has closed of stdin, stdout and stderr lead nowhere: the next files to be opened would take their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(opened, "w" if number else "r"))


# What glibc calls its settings, by their numbers in malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
LARGE_BYTES = 4 * 2**20
"""From this size on a buffer gets pages of its own, which go back once it is freed: more than a patch, less than a strip."""
TRIMMED_BYTES = 32 * 2**20
"""What may lie free at the end of a thread's memory. Of the 128 KB that glibc has where the threshold is fixed, each patch would give its
pages back and take new ones."""
KEPT_BYTES = 2**31 - 1


def return_large_buffers() -> None:
    """Keep glibc from raising its threshold as it goes, which would keep some 200 MB more in use."""
    set_malloc_options({M_MMAP_THRESHOLD: LARGE_BYTES, M_TRIM_THRESHOLD: TRIMMED_BYTES})


def keep_large_buffers() -> None:
    """Let glibc keep what is freed: training asks for the same buffers at every step, and new ones cost page faults."""
    set_malloc_options({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: KEPT_BYTES, M_TOP_PAD: KEPT_BYTES // 8})


def set_malloc_options(values: Mapping[int, int]) -> None:
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for name, value in values.items():
            library.mallopt(name, value)
