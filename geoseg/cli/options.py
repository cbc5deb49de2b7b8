"""Flags of the command line, made from the options of the library."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from geoseg.cli.console import add_option
from geoseg.io.trust import trust_files
from geoseg.options import INPUTS, OUTPUTS, Option, Options, format_flag, list_options, read_options

PATH = click.Path(path_type=Path)


def take_options(
    kind: type[Options], may_trust: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command a flag for each option of a class, `--config` and `--trust`; it gets the former as one value, `options`."""

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        names = [option.name for option in list_options(kind)]

        @functools.wraps(run)
        def collect(*, config: Path | None, trust: bool = False, **values: Any) -> None:
            flags = {name: values.pop(name) for name in names}
            given = {name: value for name, value in flags.items() if value not in (None, ())}
            with trust_files() if trust else nullcontext():
                run(**values, options=read_options(kind, config, given))

        command: Callable[..., None] = collect
        if may_trust:
            command = add_option(
                INPUTS,
                "--trust",
                is_flag=True,
                help="For files that you know: let them make GDAL read other files and ask servers, as virtual rasters do.",
            )(command)
        command = add_option(
            INPUTS,
            "--config",
            type=PATH,
            metavar="FILE.toml",
            help="Read options from this file; those on the command line override it.",
        )(command)
        for option in reversed(list_options(kind)):
            for make in (make_shorthands, make_flag):
                command = make(option)(command)
        return command

    return decorate


def make_flag(option: Option) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option as a flag; what is not given stays open, so that a file or the default can speak."""
    flags = [flag for flag in option.flags if "=" not in flag] or [format_flag(option.name)]
    attributes: dict[str, Any] = {
        "default": None,
        "help": option.help + describe_default(option),
        "metavar": option.metavar,
    }
    if option.kind is bool:
        attributes["is_flag"] = True
    else:
        attributes |= {"type": choose_click_type(option), "multiple": option.takes_many}
    return add_option(option.group, *flags, option.name, **attributes)


def make_shorthands(option: Option) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Flags that stand for one value of an option each; of several on a command line the last one counts."""

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        for flag, _, value in (each.partition("=") for each in option.flags if "=" in each):
            meaning = f"Short for {format_flag(option.name)} {value}."
            run = add_option(option.group, flag, option.name, flag_value=value, default=None, help=meaning)(
                run
            )
        return run

    return decorate


def describe_default(option: Option) -> str:
    told = "[default" in option.help or option.kind is bool or option.default in ("", None, ())
    return "" if told else f"  [default: {option.default}]"


def choose_click_type(option: Option) -> Any:
    """What click makes of a value before the option itself checks it."""
    if option.choices:
        return click.Choice([str(choice) for choice in option.choices])
    return {Path: PATH, int: int, float: float}.get(option.kind, str)


FOOTPRINT_FILE = "Write building footprints here: .gpkg (styled for QGIS), .fgb, .geojson, .parquet or .shp"


def add_out_option(
    meaning: str, metavar: str = "FILE", *, required: bool = True, kind: Any = PATH
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of where a command writes what it makes."""
    return add_option(OUTPUTS, "--out", "-o", type=kind, required=required, metavar=metavar, help=meaning)
