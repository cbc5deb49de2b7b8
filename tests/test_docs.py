"""What README and the pages tell people to type is run, links lead somewhere, and what the pages say of the code is so."""

from __future__ import annotations

import ast
import configparser
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from documents import (
    PAGES,
    PAGES_FOLDER,
    ROOT,
    Block,
    list_anchors,
    list_links,
    read_blocks,
    read_prose,
    read_quotes,
    read_rows,
    split_commands,
)
from furnished import furnish_folder
from reference import CLASSES, FOLDER, find_command, write_reference

import geoseg
from geoseg.cli.main import COMMANDS
from geoseg.cli.main import geoseg as command_line
from geoseg.datasets.options import KINDS
from geoseg.datasets.schema import Dataset, Item
from geoseg.models.card import Card, DerivedBand, Scaling
from geoseg.options import OUTPUTS, list_options

BLOCKS = [block for page in PAGES for block in read_blocks(page)]
PARSED_ONLY = (FOLDER, ROOT / "examples", ROOT / "CONTRIBUTING.md")
"""Examples out of the help of commands, how the models were made, and what developers type."""
LANGUAGES = {"bash", "python", "text"}
WRITE_NOTHING = {"--dry-run", "--list", "--shard"}
"""Options with which a command leaves none of its outputs."""
OTHER_PROGRAMS = {
    ".", "dask", "earthengine", "mkdocs", "mypy", "pip", "pre-commit", "pytest", "python", "python3", "ruff", "tensorboard", "unzip", "mv",
}  # fmt: skip
OTHER_FLAGS = {
    "--logdir",
    "--nproc-per-node",
    "--strict",
    "--check",
    "--against",
    "--no-deps",
    "--nodata",
    "--nthreads",
    "--nworkers",
    "--memory-limit",
    "--rate",
    "--moved-mb",
    "--sizes",
}
MODULE = ["-m", "geoseg"]


def name_block(block: Block) -> str:
    return block.name


def is_run(block: Block) -> bool:
    return block.reason is None and not any(block.page.is_relative_to(path) for path in PARSED_ONLY)


def find_own_words(words: list[str]) -> list[str] | None:
    """What follows `geoseg` in a command, or `-m geoseg` in one that starts it otherwise."""
    if words[0] == "geoseg":
        return words[1:]
    return next((words[i + 2 :] for i in range(len(words)) if words[i : i + 2] == MODULE), None)


def parse(words: list[str]) -> click.Context | None:
    """A command as click understands it and as the library checks its options; none where it only shows its help."""
    name, count = words[0], 1
    if name.startswith("-"):
        assert words in (["--help"], ["--version"])
        return None
    assert name in COMMANDS, f"no command {name}"
    if isinstance(find_command(name), click.Group):
        name, count = " ".join(words[:2]), 2
    command = find_command(name)
    try:
        context = command.make_context(name, words[count:])
    except click.exceptions.Exit:
        return None
    if name in CLASSES:
        known = {option.name for option in list_options(CLASSES[name])}
        given = {key: value for key, value in context.params.items() if value not in (None, ())}
        CLASSES[name]().replace({key: value for key, value in given.items() if key in known})
    return context


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language == "bash"], ids=name_block)
def test_commands_are_there_with_the_options_they_are_shown_with(block: Block) -> None:
    for words in block.commands():
        own = find_own_words(words)
        if own is not None:
            parse(own)
            continue
        assert words[0] in OTHER_PROGRAMS, words
        for word in words[1:]:
            if word.startswith("tests/") or word.endswith((".yml", ".py")):
                assert (ROOT / word).exists() or (block.page.parent / word).exists(), word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_in_the_text_are_there(page: Path) -> None:
    quotes = read_quotes(page)
    for words in (
        words for quote in quotes if quote.startswith("geoseg ") for words in split_commands(quote)
    ):
        own = find_own_words(words)
        if own and names_command(own):
            with suppress(click.MissingParameter, click.BadOptionUsage):  # the text may show a part
                parse(own)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", " ".join(quotes)))
    assert flags <= OTHER_FLAGS | set(list_flags())


def names_command(words: list[str]) -> bool:
    """Whether words name a command, rather than its place as in `geoseg prepare KIND`, or a group of commands."""
    if words[0] not in COMMANDS:
        assert words[0].startswith("-"), words
        return True
    command = find_command(words[0])
    return not isinstance(command, click.Group) or (len(words) > 1 and words[1] in command.commands)


def list_flags() -> Iterator[str]:
    """Every flag of every command."""
    waiting: list[click.Command] = [find_command(name) for name in COMMANDS]
    while waiting:
        command = waiting.pop()
        if isinstance(command, click.Group):
            waiting += [command.commands[name] for name in command.list_commands(click.Context(command))]
        for param in command.get_params(click.Context(command)):
            yield from (*param.opts, *param.secondary_opts)


def test_every_block_says_what_it_is() -> None:
    assert {block.language for block in BLOCKS} <= LANGUAGES
    assert sum(map(is_run, BLOCKS)) > 30


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("documentation")
    furnish_folder(folder, tiny_model)
    return folder


@pytest.fixture
def place(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with all files that the pages name, to work in."""
    shutil.copytree(furnished, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.mark.parametrize(
    "block", [each for each in BLOCKS if each.language == "bash" and is_run(each)], ids=name_block
)
def test_commands_do_what_the_pages_say(block: Block, place: Path) -> None:
    for own in filter(None, map(find_own_words, block.commands())):
        context = parse(own)
        remove_outputs(context)
        done = CliRunner().invoke(command_line, own)
        assert done.exit_code == 0, f"geoseg {' '.join(own)}\n{done.output}"
        assert all(path.exists() for path in list_outputs(context)) or WRITE_NOTHING & set(own)


def list_outputs(context: click.Context | None) -> list[Path]:
    """The files that a command is to write."""
    if context is None:
        return []
    outputs = [
        param.name
        for param in context.command.params
        if param.name and (getattr(param, "group", "") == OUTPUTS or param.name in ("out", "page", "truth"))
    ]
    given = {name: context.params[name] for name in outputs}
    return [Path(path) for name, path in given.items() if isinstance(path, Path) or (path and name == "out")]


def remove_outputs(context: click.Context | None) -> None:
    """Take away what is there, so that a page may begin anew."""
    for path in list_outputs(context):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def list_python(is_wanted: bool) -> dict[Path, list[Block]]:
    """The Python of each page, that which is run or that which is not."""
    chosen = [block for block in BLOCKS if block.language == "python" and is_run(block) == is_wanted]
    return {
        page: [block for block in chosen if block.page == page] for page in sorted({b.page for b in chosen})
    }


@pytest.mark.parametrize("page", sorted(list_python(True)), ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_a_page_runs_from_its_first_line_to_its_last(page: Path, place: Path) -> None:
    names: dict[str, Any] = {}
    for block in list_python(True)[page]:
        tree = ast.parse(block.text)
        for call in find_calls(tree):
            if call.func.attr in ("infer", "vectorize") and len(call.args) > 1:  # type: ignore[attr-defined]
                Path(ast.literal_eval(call.args[1])).unlink(missing_ok=True)
        exec(compile(tree, block.name, "exec"), names)


def find_calls(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls of functions of geoseg."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("geoseg."):
            yield node


@pytest.mark.parametrize(
    "block", [block for blocks in list_python(False).values() for block in blocks], ids=name_block
)
def test_python_that_takes_too_long_names_what_is_there(block: Block) -> None:
    for call in find_calls(ast.parse(block.text)):
        function = getattr(geoseg, ast.unparse(call.func).removeprefix("geoseg."))
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
        inspect.signature(function).bind(*map(ast.literal_eval, call.args), **given)
        kind = CLASSES.get(function.__name__) or KINDS[ast.literal_eval(call.args[0])]
        kind().replace(given)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for file, heading in list_links(page):
        assert file.exists(), file
        assert not heading or heading in list_anchors(file), f"{file}#{heading}"


def test_extras_that_pages_name_are_there() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = {
        extra for page in PAGES for extra in re.findall(r"\.\[(\w+)\]", page.read_text(encoding="utf-8"))
    }
    assert named <= set(setup["options.extras_require"])


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("name", sorted(write_reference()))
def test_the_reference_is_that_of_the_code(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == write_reference()[name], "run python tests/support/reference.py"


def test_the_page_on_python_names_all_that_there_is() -> None:
    assert set(re.findall(r"geoseg\.(\w+)", read_prose(PAGES_FOLDER / "python.md"))) >= set(geoseg.__all__)


def read_defaults(heading: str) -> dict[str, str]:
    """Fields and their defaults as the page on the model card has them."""
    defaults: dict[str, str] = {}
    for names, values, *_ in read_rows(PAGES_FOLDER / "reference" / "card.md", heading):
        listed = re.findall(r"`([^`]+)`", values)
        for number, name in enumerate(re.findall(r"`([^`]+)`", names)):
            defaults[name] = listed[number] if listed else values
    return defaults


@pytest.mark.parametrize(
    ("kind", "heading"), [(Card, "The model card"), (Scaling, "scaling"), (DerivedBand, "derived")]
)
def test_the_page_on_the_card_has_its_fields_and_defaults(kind: type, heading: str) -> None:
    told = read_defaults(heading)
    assert list(told) == [field.name for field in fields(kind)] or set(told) == {f.name for f in fields(kind)}
    for field in fields(kind):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if default is MISSING:
            assert told[field.name] == "must be given"
        elif field.name != "scaling":
            assert told[field.name] == json.dumps(default)


def test_the_page_on_files_has_the_keys_of_a_data_set() -> None:
    rows = read_rows(PAGES_FOLDER / "reference" / "files.md", "A data set")
    named = {name for first, *_ in rows for name in re.findall(r"`(\w+)`", first)}
    assert named >= {field.name for kind in (Dataset, Item) for field in fields(kind)} - {"folder"}


BUILT = PAGES_FOLDER / "how-it-is-built.md"


def test_every_room_is_on_the_page_of_rooms() -> None:
    told = set(re.findall(r"`geoseg/(\w+)`", read_prose(BUILT)))
    rooms = {folder.name for folder in (ROOT / "geoseg").iterdir() if (folder / "__init__.py").exists()}
    assert told == rooms


def test_what_the_page_of_rooms_points_to_is_there() -> None:
    rows = read_rows(BUILT, "Where to look")
    assert len(rows) > 40
    for _, file, names in rows:
        tree = ast.parse((ROOT / file.strip("`")).read_text(encoding="utf-8"))
        for name in re.findall(r"`(\w+)`", names):
            assert name in set(list_definitions(tree)), f"{file}: {name}"


def list_definitions(tree: ast.Module) -> Iterator[str]:
    """What a module defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target)
        elif isinstance(node, ast.Assign):
            yield from map(ast.unparse, node.targets)


def test_benchmarks_that_pages_name_are_there() -> None:
    text = "".join(map(read_prose, PAGES))
    named = set(re.findall(r"tests/benchmarks/(\w+\.py)", text)) | set(
        re.findall(r"`(\w+\.py)`", read_prose(PAGES_FOLDER / "how-fast.md"))
    )
    assert named <= {path.name for path in (ROOT / "tests" / "benchmarks").iterdir()}


def test_what_is_said_of_the_default_model_stands_on_its_card() -> None:
    metrics = geoseg.open_model("default").card.metrics
    measured = next(value for name, value in metrics.items() if name.startswith("measured afterwards"))
    readme, page = read_prose(ROOT / "README.md"), read_prose(PAGES_FOLDER / "built-in-models.md")
    assert len(measured) == 12
    for name, place in measured.items():
        iou, low, high = place["building"]["iou"]
        f1, count, area = (
            place["building"][score][0] * factor
            for score, factor in (("footprint_f1", 1), ("count_error", 100), ("area_error", 100))
        )
        interval = f" ({low:.2f}-{high:.2f})" if low is not None else ""
        assert f"| {iou:.2f}{interval} | {f1:.2f}, buildings {count:+.0f} % | {area:+.0f} % |" in page, name
        if name in ("accra-west", "dhaka", "rio"):
            assert all(f in readme for f in (f"{iou:.2f} (", f"{count:+.0f} %", f"{area:+.0f} %"))


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {geoseg.__version__}\n" in text


def test_the_site_can_be_built(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs mkdocs-material: pip install '.[docs]'")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        "docs/mkdocs.yml",
        "-d",
        str(tmp_path),
    ]
    built = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
