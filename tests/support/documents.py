"""Markdown pages as tests read them: blocks of code, words in backquotes, headings and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES_FOLDER = ROOT / "docs" / "pages"
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    ROOT / "examples" / "models" / "README.md",
    *sorted(PAGES_FOLDER.rglob("*.md")),
)
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+) -->\n)?^```(?P<language>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE
)
CHAINS = {"&&", "|", ";"}


@dataclass(frozen=True)
class Block:
    """A block of code: where it stands, in what language, and why it is not run, if it is not."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """The words of each command of a block of shell."""
        for line in self.text.replace("\\\n", " ").splitlines():
            yield from split_commands(re.sub(r"(^|\s+)#\s.*$|\s> \S+$", "", line))


def split_commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a line; words that join commands are left out."""
    words: list[str] = []
    for word in [*shlex.split(line), ";"]:
        if word not in CHAINS:
            words.append(word)
        elif words:
            yield words
            words = []


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page, text.count("\n", 0, found.start("text")), found["language"], found["text"], found["reason"]
        )
        for found in FENCE.finditer(text)
    ]


def read_prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def read_quotes(page: Path) -> list[str]:
    """What stands in backquotes in the text of a page."""
    return re.findall(r"`([^`\n]+)`", read_prose(page))


def list_anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", read_prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def list_links(page: Path) -> list[tuple[Path, str]]:
    """The file and the heading that each link inside the repository leads to."""
    targets = re.findall(r"\]\(([^)\s]+)\)", read_prose(page))
    inside = [target.partition("#") for target in targets if not re.match(r"\w+:", target)]
    return [(page if not file else page.parent / file, part) for file, _, part in inside]


def read_rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of every row of the tables below a heading; of the first of them without its own heading."""
    text = re.split(r"^#+ ", read_prose(page).partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows if set(row) - set("-|")][1:]
