"""JSON files of any size, one element of their lists at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from geoseg.errors import InputError

CHUNK = 2**22
LARGEST = 2**29
BLANK = re.compile(r"[ \t\r\n]*")


class Reader:
    """The text of a JSON file through a window that moves on as values are taken out of it."""

    def __init__(self, file: TextIO, path: Path, heard: Callable[[float], None]) -> None:
        self.file, self.path, self.heard = file, path, heard
        self.text, self.at = "", 0
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Take in more of the file; false at its end."""
        chunk = self.file.read(CHUNK)
        self.heard(len(chunk) / 1e6)
        self.text, self.at = self.text[self.at :] + chunk, 0
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is not blank."""
        while True:
            self.at = BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                raise InputError(f"{self.path}: ends in the middle; the file is cut off, get it again")

    def take(self, expected: str) -> str:
        found = self.peek()
        if found not in expected:
            raise InputError(f"{self.path}: not JSON: {found!r} stands where one of {expected} should")
        self.at += 1
        return found

    def value(self) -> tuple[Any, str]:
        """The next value, and the text it was written as."""
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                self.widen(error)
                continue
            # A number at the end of the window may go on beyond it.
            if end == len(self.text) and self.more():
                continue
            written, self.at = self.text[self.at : end], end
            return value, written

    def widen(self, error: json.JSONDecodeError) -> None:
        """Take in more text because a value did not end, unless it is plainly broken."""
        if len(self.text) - self.at > LARGEST:
            raise InputError(f"{self.path}: not JSON that can be read ({error.msg})") from error
        broken = error.pos < len(self.text) - 64 and "Unterminated" not in error.msg
        if broken:
            raise InputError(f"{self.path}: not JSON ({error.msg})") from error
        if not self.more():
            raise InputError(f"{self.path}: ends in the middle; the file is cut off, get it again") from error


def elements(
    path: Path, heard: Callable[[float], None] = lambda megabytes: None
) -> Iterator[tuple[str, Any, str]]:
    """Each element of the lists in a JSON object, as (key, value, text); other values come whole."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from parts(Reader(file, path, heard))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def parts(reader: Reader) -> Iterator[tuple[str, Any, str]]:
    if reader.peek() != "{":
        raise InputError(
            f"{reader.path}: not a COCO file: it must be a JSON object with images and annotations"
        )
    reader.take("{")
    if reader.peek() == "}":
        return
    while True:
        key, _ = reader.value()
        reader.take(":")
        if reader.peek() == "[":
            yield from listed(reader, str(key))
        else:
            yield (str(key), *reader.value())
        if reader.take(",}") == "}":
            return


def listed(reader: Reader, key: str) -> Iterator[tuple[str, Any, str]]:
    reader.take("[")
    if reader.peek() == "]":
        reader.take("]")
        return
    while True:
        yield (key, *reader.value())
        if reader.take(",]") == "]":
            return
