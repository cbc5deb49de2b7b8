"""What the README tells people to type, import and click on is there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from geoseg.cli.main import geoseg

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "examples" / "models" / "README.md")
TEXT = "\n\n".join(page.read_text(encoding="utf-8") for page in PAGES)
CHAINS = {"&&", "|", ";"}


def written(pattern: str) -> list[str]:
    return re.findall(pattern, TEXT, re.MULTILINE)


def command_lines() -> Iterator[str]:
    """Lines of code blocks and words in backquotes that begin with geoseg, without comments."""
    joined = TEXT.replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"^```\w*\n(?:.*\n)*?```|^    .*$", joined, re.MULTILINE))
    shown = re.findall(r"^ *(?:\$ )?(geoseg .*)$", blocks, re.MULTILINE)
    quoted = re.findall(r"`(geoseg [^`]+)`", joined)
    for line in [*shown, *quoted, *re.findall(r"&& (geoseg .*)$", joined, re.MULTILINE)]:
        yield re.sub(r"\s+#.*$| +\[.*$", "", line)


def alone(words: list[str]) -> list[str]:
    """The words up to where another command follows."""
    return words[: next((i for i, word in enumerate(words) if word in CHAINS), len(words))]


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_every_command_has_the_options_it_is_shown_with(line: str) -> None:
    command: click.Command = geoseg
    words = alone(shlex.split(line))[1:]
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        if words[0].isupper() or words[0].startswith("-"):  # such as geoseg COMMAND --help
            return
        assert found, f"no command {words[0]}"
        command, words = found, words[1:]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= known | {"--help", "-h"}


def python_blocks() -> Iterator[str]:
    yield from written(r"```python\n((?:.*\n)*?)```")
    indented = re.findall(r"(?:^    (?:from|import) .*\n(?:(?:    .*)?\n)*)", TEXT, re.MULTILINE)
    yield from (re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in indented)


@pytest.mark.parametrize("block", list(python_blocks()))
def test_what_is_imported_can_be(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module = import_module(node.module)
                assert hasattr(module, alias.name) or import_module(f"{node.module}.{alias.name}")


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, part = target.partition("#")
        if not re.match(r"\w+://", target):
            assert (page.parent / file).exists()
            assert not part or file or part in headings, target


def test_every_room_of_the_readme_is_there_and_every_room_is_in_it() -> None:
    rooms = {folder.name for folder in (ROOT / "geoseg").iterdir() if (folder / "__init__.py").exists()}
    assert set(written(r"^\| `geoseg/(\w+)` \|")) == rooms
