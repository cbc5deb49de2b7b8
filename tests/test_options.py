"""An option stands once: its checks, its flag, its line in a TOML file all come from the field of a class."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click
import numpy as np
import pytest
from click.testing import CliRunner

from geoseg.cli.main import COMMANDS, geoseg
from geoseg.cli.options import take_options
from geoseg.datasets.options import KINDS
from geoseg.errors import InputError
from geoseg.evaluation.options import EvaluateOptions
from geoseg.inference.options import PredictOptions
from geoseg.options import (
    GROUPS,
    ZERO_OR_MORE,
    Options,
    define_option,
    format_flag,
    list_options,
    read_options,
    show_flags,
)
from geoseg.training.options import TrainOptions
from geoseg.workflows.options import InferOptions, StatsOptions, VectorizeOptions

CLASSES = (
    EvaluateOptions,
    PredictOptions,
    InferOptions,
    VectorizeOptions,
    StatsOptions,
    TrainOptions,
    *KINDS.values(),
)


@dataclass(frozen=True, kw_only=True)
class BakeOptions(Options):
    """One option of each kind."""

    weight_m2: float = define_option(1.0, "How heavy.", ZERO_OR_MORE)
    count: int | None = define_option(None, "How many.")
    kind: Literal["rye", "wheat"] = define_option("rye", "Which.")
    size: Literal[4, 8] = define_option(4, "How large.")
    crisp: bool = define_option(False, "Whether.")
    recipe: Path | None = define_option(None, "Where.")
    seeds: tuple[str, ...] = define_option((), "What on top.", flags=("--seed",))
    heat: str | float = define_option("auto", "How hot.")


GIVEN = {
    "weight_m2": 2,
    "count": 3,
    "kind": "wheat",
    "size": "8",
    "crisp": True,
    "recipe": "old.txt",
    "seeds": ["poppy", "sesame"],
    "heat": 220.0,
}


def test_values_are_converted_to_their_types() -> None:
    options = BakeOptions(**GIVEN)
    assert options == BakeOptions(
        weight_m2=2.0, count=3, kind="wheat", size=8, crisp=True, recipe=Path("old.txt"),
        seeds=("poppy", "sesame"), heat=220.0,
    )  # fmt: skip
    assert isinstance(options.weight_m2, float)


def test_numbers_of_numpy_and_single_paths_serve_as_well() -> None:
    options = BakeOptions(weight_m2=np.float32(2), count=np.int64(3), heat=np.int16(220), seeds=Path("poppy"))
    assert (options.weight_m2, options.count, options.heat, options.seeds) == (2.0, 3, 220, ("poppy",))
    assert (type(options.weight_m2), type(options.count)) == (float, int)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # the latter by editors on Windows
def test_a_file_gives_back_what_was_written(tmp_path: Path, encoding: str) -> None:
    options = BakeOptions(**GIVEN)
    (tmp_path / "bake.toml").write_text(options.to_toml(), encoding=encoding)
    assert read_options(BakeOptions, tmp_path / "bake.toml", {}) == options
    assert read_options(BakeOptions, tmp_path / "bake.toml", {"kind": "rye"}).kind == "rye"


def test_flags_stand_for_the_same_values(tmp_path: Path) -> None:
    baked = []

    @click.command()
    @take_options(BakeOptions)
    def bake(*, options: BakeOptions) -> None:
        baked.append(options)

    (tmp_path / "bake.toml").write_text("count = 3\nheat = 220.0\nkind = 'rye'\n")
    flags = ["--weight", "2", "--kind", "wheat", "--size", "8", "--crisp", "--recipe", "old.txt"]
    config = ["--seed", "poppy", "--seed", "sesame", "--config", str(tmp_path / "bake.toml")]
    run = CliRunner().invoke(bake, [*flags, *config])
    assert run.exit_code == 0, run.output
    assert baked == [BakeOptions(**GIVEN)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"weight_m2": -1}, "`weight_m2` -1: give a finite number, zero or more"),
        ({"weight_m2": float("nan")}, "`weight_m2` nan: give a finite"),
        ({"weight_m2": True}, "`weight_m2` True: is no number"),
        ({"count": 2.5}, "`count` 2.5: is no whole number"),
        ({"kind": "spelt"}, "`kind` spelt: give one of rye, wheat"),
        ({"size": 5}, "`size` 5: give one of 4, 8"),
        ({"crisp": 1}, "`crisp` 1: is no true or false"),
        ({"recipe": 7}, "`recipe` 7: is no path"),
        ({"seeds": 7}, "`seeds` 7: is no text and no list of texts"),
        ({"heat": None}, "`heat` None: is no text or number"),
    ],
)
def test_a_wrong_value_is_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        BakeOptions(**given)
    assert caught.value.parameter == next(iter(given))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("weigth = 3", r"no option is called 'weigth'; did you mean weight_m2\?"),
        ("colour = 3", "no option is called 'colour'; there are weight_m2"),
        ("count = 'many'", "bake.toml: `count` 'many': is no whole number"),
        ("count =", "bake.toml: cannot be read as options"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bake.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_options(BakeOptions, tmp_path / "bake.toml", {})
    with pytest.raises(InputError, match=rf"cannot be read as options \({os.strerror(errno.ENOENT)}\)"):
        read_options(BakeOptions, tmp_path / "missing.toml", {})


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_option_can_be_left_out_and_says_what_it_is(kind: type[Options]) -> None:
    kind()
    for option in list_options(kind):
        assert option.help.endswith((".", "]")), option.name
        assert not option.group or option.group in GROUPS, option.name


def test_messages_show_parameters_as_flags() -> None:
    assert format_flag("min_area_m2") == "--min-area"
    assert (
        show_flags("`min_area_m2` 3, and `start_from`", {"start_from": "--from"})
        == "--min-area 3, and --from"
    )


def list_commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found += (
            list_commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
        )
    return found


@pytest.mark.parametrize("path", list_commands(geoseg), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    assert path[0] in COMMANDS
    run = CliRunner().invoke(geoseg, [*path, "--help"])
    assert run.exit_code == 0, run.output
    assert "--quiet" in run.output


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["infr"], "infer"), (["models", "shwo"], "show"), (["infer", "--otu", "x"], "--out")],
)
def test_a_mistyped_name_gets_the_nearest(words: list[str], meant: str) -> None:
    result = CliRunner().invoke(geoseg, words)
    assert result.exit_code == 2
    assert "Did you mean" in result.output
    assert meant in result.output.splitlines()[-1]


def test_the_list_of_commands_gives_whole_sentences() -> None:
    _, _, output = CliRunner().invoke(geoseg, ["--help"]).output.partition("[ARGS]...")
    assert "..." not in output
    assert all(f"\n  {name} " in output for name in COMMANDS)
