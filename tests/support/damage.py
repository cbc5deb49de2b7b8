"""Damages sound files, by a seed: bits and spans anywhere, and values that no reader expects where its format has values."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from numpy.random import Generator

Damage = Callable[[bytes, Generator], bytes]

NESTED = "[" * 5_000 + "]" * 5_000
HUGE = "9" * 400
WEIRD_NUMBERS = (
    "0",
    "-1",
    "1e300",
    "-1e999",
    "NaN",
    "Infinity",
    "1e-320",
    "4294967296",
    "9223372036854775808",
    HUGE,
    "9" * 5000,
)
WEIRD_TEXTS = (
    "",
    "\\u0000",
    "../../outside",
    "/etc/passwd",
    "a" * 70_000,
    "\u00e4\u4f60",
    "%s%n{}",
    "<&>",
    "EPSG:0",
    "=1+1",
    "\\ud800",
)
WEIRD_VALUES = (
    *WEIRD_NUMBERS, *(f'"{text}"' for text in WEIRD_TEXTS), "null", "true", "[]", "{}", "[[]]", '{"a": [1]}', "[1, 2, 3]", NESTED,
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+(\.\d+)?(e[+-]?\d+)?")
QUOTED = re.compile(rb"\"[^\"\n]*\"")
TOML_VALUE = re.compile(rb"(?<== ).+$", re.MULTILINE)
WEIRD_NAMES = ("../outside.xml", "/outside.xml", "a" * 300, "images/", "annotations.xml", "a\\..\\b")
HERE = "\x01here\x01"


def pick(chance: Generator, things: Any) -> Any:
    return things[int(chance.integers(len(things)))]


def pick_span(content: bytes, chance: Generator, longest: int = 4096) -> slice:
    start = int(chance.integers(len(content) + 1))
    return slice(start, start + int(chance.integers(1, longest)))


def flip_bits(content: bytes, chance: Generator) -> bytes:
    damaged = bytearray(content)
    for place in chance.integers(0, max(1, len(content)), int(chance.integers(1, 9))) if content else ():
        damaged[place] ^= 1 << int(chance.integers(8))
    return bytes(damaged)


def flip_early_bits(content: bytes, chance: Generator) -> bytes:
    """In the first kilobyte, where most formats say what they hold."""
    return flip_bits(content[:1024], chance) + content[1024:]


def cut_off(content: bytes, chance: Generator) -> bytes:
    return content[: int(chance.integers(len(content) + 1))]


def cut_out(content: bytes, chance: Generator) -> bytes:
    span = pick_span(content, chance)
    return content[: span.start] + content[span.stop :]


def blank_out(content: bytes, chance: Generator) -> bytes:
    span = pick_span(content, chance)
    return content[: span.start] + pick(chance, (b"\0", b"\xff")) * len(content[span]) + content[span.stop :]


def repeat_span(content: bytes, chance: Generator) -> bytes:
    span = pick_span(content, chance)
    return content[: span.stop] + content[span] * int(chance.integers(1, 4)) + content[span.stop :]


def insert_noise(content: bytes, chance: Generator) -> bytes:
    place = int(chance.integers(len(content) + 1))
    return content[:place] + chance.bytes(int(chance.integers(1, 64))) + content[place:]


BYTES: tuple[Damage, ...] = (
    flip_bits,
    flip_early_bits,
    cut_off,
    cut_out,
    blank_out,
    repeat_span,
    insert_noise,
)


def replace_one(content: bytes, pattern: re.Pattern[bytes], value: str, chance: Generator) -> bytes:
    """Put a value in the place of one of the matches."""
    found = list(pattern.finditer(content))
    if not found:
        return content
    start, stop = pick(chance, found).span()
    return content[:start] + value.encode() + content[stop:]


def change_number(content: bytes, chance: Generator) -> bytes:
    return replace_one(content, NUMBER, pick(chance, WEIRD_NUMBERS), chance)


def change_text(content: bytes, chance: Generator) -> bytes:
    return replace_one(content, QUOTED, f'"{pick(chance, WEIRD_TEXTS)}"', chance)


def change_toml(content: bytes, chance: Generator) -> bytes:
    return replace_one(content, TOML_VALUE, pick(chance, WEIRD_VALUES), chance)


def drop_line(content: bytes, chance: Generator) -> bytes:
    lines = content.split(b"\n")
    del lines[int(chance.integers(len(lines)))]
    return b"\n".join(lines)


TEXT = (*BYTES, change_number, change_number, change_text, drop_line)
TOML = (*TEXT, change_toml, change_toml, change_toml)


def change_json(content: bytes, chance: Generator) -> bytes:
    """Put a weird value in the place of any, or leave one out, or give it twice."""
    document = json.loads(content)
    holder, key = pick(chance, list(list_places(document)) or [([], None)])
    how = int(chance.integers(10))
    if key is None:
        return pick(chance, WEIRD_VALUES).encode()
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key] = HERE
    return json.dumps(document).replace(json.dumps(HERE), pick(chance, WEIRD_VALUES)).encode()


def list_places(value: Any) -> Any:
    """All places of a document that hold a value: what they are in, and the key there."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from list_places(value[key])


JSON = (*TEXT, change_json, change_json, change_json, change_json)


def change_tensor_header(content: bytes, chance: Generator) -> bytes:
    """What safetensors say of their tensors, with a length that fits or not."""
    size = struct.unpack("<Q", content[:8])[0]
    header = change_json(content[8 : 8 + size], chance)
    told = pick(chance, (len(header), len(header), len(header), 2**63, 0))
    return struct.pack("<Q", told) + header + content[8 + size :]


def change_array_header(content: bytes, chance: Generator) -> bytes:
    """What .npy says of its numbers, in as many bytes."""
    size = struct.unpack("<H", content[8:10])[0]
    header = pick(chance, (change_number, change_number, flip_bits))(content[10 : 10 + size], chance)
    return content[:10] + header[:size].ljust(size)[:size] + content[10 + size :]


def change_tiff_tag(content: bytes, chance: Generator) -> bytes:
    """A tag of the first directory of a classic TIFF: its number, type, count or value."""
    if content[:4] != b"II*\0":
        return flip_bits(content, chance)
    (place,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[place : place + 2])
    entry = place + 2 + 12 * int(chance.integers(count))
    tag = list(struct.unpack("<HHII", content[entry : entry + 12]))
    tag[int(chance.integers(4))] = int(pick(chance, (0, 1, 2, 3, 255, 257, 1000, 65_535)))
    if chance.integers(3) == 0:
        tag[3] = int(pick(chance, (0, 2**31 - 1, 2**32 - 1, 100_000_000)))
    return content[:entry] + struct.pack("<HHII", *tag) + content[entry + 12 :]


def change_archive(content: bytes, chance: Generator) -> bytes:
    """A zip archive packed anew, with a member that is damaged, or called otherwise, or there twice."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(packed, "w") as target:
        chosen = pick(chance, source.namelist())
        for name in source.namelist():
            inside, called = source.read(name), name
            if name == chosen and chance.integers(3):
                inside = pick(chance, TEXT)(inside, chance)
            elif name == chosen:
                called = pick(chance, WEIRD_NAMES)
            target.writestr(called, inside)
    return packed.getvalue()


def change_database(content: bytes, chance: Generator) -> bytes:
    """A GeoPackage in which one cell of any table holds something else, or a row or a table is gone."""
    with closing(sqlite3.connect(":memory:")) as base:
        base.deserialize(content)
        with suppress(sqlite3.Error):
            base.execute("PRAGMA writable_schema = ON")
        tables = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = pick(chance, [name for name in tables if not name.startswith(("sqlite_", "rtree_"))])
        with suppress(sqlite3.Error):  # a trigger may need functions of GDAL's
            change_table(base, table, chance)
        base.commit()
        return base.serialize()


def change_table(base: sqlite3.Connection, table: str, chance: Generator) -> None:
    for (trigger,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        base.execute(f'DROP TRIGGER "{trigger}"')
    how = int(chance.integers(12))
    rows = [row for (row,) in base.execute(f'SELECT rowid FROM "{table}"')]
    if how == 0 or not rows:
        base.execute(f'DROP TABLE "{table}"')
    elif how == 1:
        base.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (pick(chance, rows),))
    else:
        column = pick(chance, [row[1] for row in base.execute(f'PRAGMA table_info("{table}")')])
        row = pick(chance, rows)
        (before,) = base.execute(f'SELECT "{column}" FROM "{table}" WHERE rowid = ?', (row,)).fetchone()
        base.execute(
            f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (change_cell(before, chance), row)
        )


def change_cell(before: Any, chance: Generator) -> Any:
    if isinstance(before, bytes) and chance.integers(4):
        return pick(chance, BYTES)(before, chance)
    return pick(
        chance,
        (
            None,
            "",
            "a" * 70_000,
            -1,
            0,
            2**63 - 1,
            1e300,
            float("inf"),
            b"\xff\xfe",
            "../x",
            "EPSG:0",
            "\u4f60",
        ),
    )


def damage_file(path: Path, damages: tuple[Damage, ...], chance: Generator) -> str:
    """Damage a file in one of some ways, now and then in two; the names of these."""
    names = []
    for _ in range(1 if chance.integers(5) else 2):
        damage = pick(chance, damages)
        with suppress(
            ValueError, struct.error, zipfile.BadZipFile, KeyError, sqlite3.Error, IndexError
        ):  # too damaged for more
            path.write_bytes(damage(path.read_bytes(), chance))
        names.append(damage.__name__)
    return ", ".join(names)
