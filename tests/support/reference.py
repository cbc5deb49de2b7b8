"""Writes docs/pages/reference: the options of every command and the columns of its tables, taken from the code.

python tests/support/reference.py
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from geoseg.app.options import AppOptions
from geoseg.cli.main import COMMANDS, geoseg
from geoseg.comparison.write import CHANGE_COLUMNS, CHANGE_REGION_COLUMNS
from geoseg.datasets.options import KINDS, DatasetOptions
from geoseg.evaluation.options import EvaluateOptions
from geoseg.footprints.write.samples import POINT_COLUMNS, SQUARE_COLUMNS
from geoseg.footprints.write.spool import (
    FOOTPRINT_COLUMNS,
    PIXEL_COLUMNS,
    REGION_COLUMNS,
    SAMPLE_COLUMNS,
    Column,
)
from geoseg.options import GROUPS, KIND_NAMES, MESSAGES, Option, Options, list_options
from geoseg.reports.options import PlotOptions, ReportOptions
from geoseg.training.options import TrainOptions
from geoseg.workflows.options import (
    CompareOptions,
    InferOptions,
    PublishOptions,
    SampleOptions,
    StatsOptions,
    VectorizeOptions,
)

FOLDER = Path(__file__).parents[2] / "docs" / "pages" / "reference"
NOTICE = "<!-- Written by tests/support/reference.py from the code. Change the code, then run it again. -->"
CLASSES: Mapping[str, type[Options]] = {
    "infer": InferOptions,
    "vectorize": VectorizeOptions,
    "stats": StatsOptions,
    "sample": SampleOptions,
    "compare": CompareOptions,
    "publish": PublishOptions,
    "plot": PlotOptions,
    "report": ReportOptions,
    "app": AppOptions,
    "train": TrainOptions,
    "evaluate": EvaluateOptions,
    **{f"prepare {kind}": options for kind, options in KINDS.items()},
}
"""The options of a command, for those that have a function in Python."""
SHARED = "prepare KIND"
"""The heading of the options that every kind of `prepare` has."""
SHARED_NAMES = {option.name for option in list_options(DatasetOptions)} | {"out", "config"}
EVERYWHERE = (
    "Every command also takes `--quiet`, `--json`, `--debug` and `--help`: see "
    "[how commands behave](../index.md#how-commands-behave)."
)
DEFAULT = re.compile(r"\s*\[default: ([^\]]+)\]")


def write_reference() -> dict[str, str]:
    """The text of every page, by the name of its file."""
    pages = {f"{name}.md": write_command_page(name) for name in COMMANDS}
    return pages | {"columns.md": write_columns_page()}


def write_command_page(name: str) -> str:
    command = find_command(name)
    parts = [f"# geoseg {name}", NOTICE, *describe_command(name, command)]
    if not isinstance(command, click.Group):
        parts += list_groups(name, command.params)
    else:
        for part in order_subcommands(command.list_commands(click.Context(command))):
            parts += write_section(f"{name} {part}", find_command(f"{name} {part}"))
    if name == "prepare":
        parts += write_shared_section()
    return join_parts([*parts, EVERYWHERE])


def write_shared_section() -> Iterator[str]:
    """The options that all kinds of `prepare` have."""
    name = f"prepare {next(iter(KINDS))}"
    yield "## Options of every kind"
    yield "Each kind of source takes these options as well; `cvat-export` and `audit` do not."
    shared = [param for param in find_command(name).params if is_shared(name, param)]
    yield from list_groups(SHARED, shared, level=3)


def order_subcommands(names: Iterable[str]) -> list[str]:
    """Kinds of sources in their own order, then the rest as it is."""
    kinds = list(KINDS)
    return sorted(names, key=lambda name: kinds.index(name) if name in kinds else len(kinds))


def write_section(name: str, command: click.Command) -> list[str]:
    """A subcommand below a heading of its own."""
    params = [param for param in command.params if not is_shared(name, param)]
    return [
        f"## geoseg {name}",
        *describe_command(name, command),
        *list_groups(name, params, level=3),
    ]


def is_shared(name: str, param: click.Parameter) -> bool:
    """Whether an option stands in the section for all kinds of `prepare`."""
    return name.removeprefix("prepare ") in KINDS and param.name in SHARED_NAMES


def find_command(name: str) -> click.Command:
    """A command, or a subcommand, by its words."""
    command: click.Command = geoseg
    for word in name.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found, word
        command = found
    return command


def describe_command(name: str, command: click.Command) -> Iterator[str]:
    """The help of a command: paragraphs, how it is called, and its examples as blocks of code."""
    words, _, examples = textwrap.dedent("    " + (command.help or "")).partition("\b\n")
    for paragraph in words.strip().removesuffix("Examples:").split("\n\n"):
        yield escape_text(" ".join(paragraph.split()))
    if not isinstance(command, click.Group):
        pieces = command.collect_usage_pieces(click.Context(command, info_name=name))
        yield f"```text\ngeoseg {name} {' '.join(pieces)}\n```"
    yield from format_examples(examples)


def format_examples(text: str) -> Iterator[str]:
    """Lines of commands as one block each; a line that says what the next command does stands above it."""
    commands: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("geoseg "):
            commands.append(line)
        elif line.startswith("--"):
            commands[-1] += f" \\\n    {line}"
        elif line:
            yield from format_block(commands)
            commands = []
            yield escape_text(line)
    yield from format_block(commands)


def format_block(commands: Sequence[str]) -> Iterator[str]:
    if commands:
        yield "```bash\n" + "\n".join(commands) + "\n```"


def list_groups(name: str, params: Sequence[click.Parameter], level: int = 2) -> Iterator[str]:
    """A table of options for each group, in the order of the command's help."""
    groups: dict[str, list[click.Option]] = {}
    for param in params:
        if isinstance(param, click.Option) and getattr(param, "group", "") != MESSAGES:
            groups.setdefault(getattr(param, "group", "") or "Options", []).append(param)
    known = {option.name: option for option in list_options(CLASSES[name])} if name in CLASSES else {}
    if name == SHARED:
        known = {option.name: option for option in list_options(DatasetOptions)}
    for heading in sorted(groups, key=GROUPS.index):
        yield f"{'#' * level} {heading}"
        yield format_options(groups[heading], known)


def format_options(params: Sequence[click.Option], known: Mapping[str, Option]) -> str:
    """The options of a group as a table, with the Python keyword where there is one."""
    with_keywords = any(param.name in known for param in params)
    heading = ["option", *(["in Python"] if with_keywords else []), "values", "default", "what it does"]
    rows = [heading, ["---"] * len(heading)]
    for param in params:
        option = known.get(param.name or "")
        keyword = [f"`{option.name}`" if option else ""] if with_keywords else []
        rows.append([format_flags(param), *keyword, *describe_values(param, option), describe_meaning(param)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def format_flags(param: click.Option) -> str:
    return ", ".join(f"`{flag}`" for flag in (*param.opts, *param.secondary_opts))


def describe_values(param: click.Option, option: Option | None) -> tuple[str, str]:
    """Which values an option takes, and what it is where it is not given."""
    values = list_values(param, option)
    if param.multiple:
        values += "; can be repeated"
    told = DEFAULT.search((option.help if option else param.help) or "")
    if param.required:
        return values, "must be given"
    default = option.default if option else param.default if param.show_default else None
    return values, told[1] if told else format_default(default)


def list_values(param: click.Option, option: Option | None) -> str:
    """Which values there are, as the library checks them, or as the command line does."""
    if option is not None and option.choices:
        return format_choices(option.choices)
    if option is not None and option.limits:
        whole = "a whole number, " if option.kind is int else ""
        return whole + option.limits.words.removeprefix("a finite number, " if whole else "")
    if param.is_flag:
        return "on or off" if param.secondary_opts else "flag"
    if isinstance(param.type, click.Choice):
        return format_choices(param.type.choices)
    return describe_type(param)


def format_choices(choices: Iterable[Any]) -> str:
    return ", ".join(f"`{choice}`" for choice in choices)


def describe_type(param: click.Option) -> str:
    if isinstance(param.type, click.IntRange | click.FloatRange):
        most = "" if param.type.max is None else f" to {param.type.max:g}"
        return f"{param.type.min:g}{most or ' or more'}"
    if param.metavar:
        return " or ".join(f"`{part}`" for part in param.metavar.split("|"))
    return name_type(param.type)


def name_type(kind: click.ParamType) -> str:
    names: Mapping[str, str] = {
        "integer": KIND_NAMES[int], "float": KIND_NAMES[float], "text": KIND_NAMES[str], "path": KIND_NAMES[Path],
        "datetime": "`YYYY-MM-DD`",
    }  # fmt: skip
    return names[kind.name]


def format_default(value: Any) -> str:
    """A default as a reader gives it; nothing where it is no value."""
    is_value = isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
    if not is_value:
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def describe_meaning(param: click.Option) -> str:
    return escape_text(DEFAULT.sub("", param.help or "").strip())


def escape_text(text: str) -> str:
    """Text as Markdown shows it letter by letter; words in backquotes stay code."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\*|_\[\]])", r"\\\1", part).replace("<", "&lt;")
        for part in parts
    )


PIXELS = """Where nobody knows how large the pixels of a picture are, these stand in place of the columns in metres.
[Photographs without a place](../find-buildings.md#photographs-without-a-place) says more."""


def write_columns_page() -> str:
    return join_parts(
        [
            "# Columns",
            NOTICE,
            "Shapefiles cannot hold names longer than ten letters; the last column tells the short name there.",
            "## Footprints: the layer `buildings`",
            format_columns(FOOTPRINT_COLUMNS),
            PIXELS,
            format_columns(column for column in PIXEL_COLUMNS if column not in FOOTPRINT_COLUMNS),
            "## Changes: the layer `changes`",
            "One row for each building, or group that was joined or parted: [compare footprints](../compare.md).",
            format_columns(CHANGE_COLUMNS),
            "## Changes by region: the layer `changes_by_region`",
            format_columns(CHANGE_REGION_COLUMNS),
            "## Regions: the layer `regions`",
            "One row for each region and class. [Statistics per region](../statistics.md) says more about each.",
            format_columns(REGION_COLUMNS),
            "With `--samples`, these come after them:",
            format_columns(SAMPLE_COLUMNS),
            "## Sample points: the layer `points`",
            "[Numbers that hold](../numbers-that-hold.md) says how they are filled in and used.",
            format_columns(POINT_COLUMNS),
            "## Sample squares: the layer `squares`",
            "A layer `marks` beside them takes a point for each building.",
            format_columns(SQUARE_COLUMNS),
        ]
    )


def format_columns(columns: Iterable[Column]) -> str:
    rows = [
        f"| `{each.name}` | {each.kind} | {each.alias} | {each.meaning} | {f'`{each.short}`' if each.short else ''} |"
        for each in columns
    ]
    heading = ["| column | type | name in QGIS | meaning | in shapefiles |", "|---|---|---|---|---|"]
    return "\n".join([*heading, *rows])


def join_parts(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    for name, text in write_reference().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
