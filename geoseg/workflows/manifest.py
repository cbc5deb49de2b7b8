"""What came of each of many scenes, in a CSV file beside the results.

A line is added before and after each scene; of several lines of a scene the last one counts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from geoseg.cluster.shards import Shard
from geoseg.errors import InputError, shorten_error
from geoseg.io.atomic import explain_write_errors, replace_text

RASTERS = ("mask", "probability", "all_outputs")


@dataclass(frozen=True)
class SceneRecord:
    """A line of the manifest: a scene, where its outputs are, and what came of it.

    `status` is done, failed, or started: by a run that was killed. `key` changes with the scene and the options.
    """

    scene: str
    status: str
    footprints: int | None = None
    area_m2: float | None = None
    area_px: float | None = None
    seconds: float | None = None
    out: str = ""
    mask: str = ""
    probability: str = ""
    all_outputs: str = ""
    reason: str = ""
    key: str = ""

    @property
    def outputs(self) -> dict[str, Path]:
        """The files, by what they are."""
        named = {name: getattr(self, name) for name in ("out", *RASTERS)}
        return {name: Path(path) for name, path in named.items() if path}

    @property
    def is_whole(self) -> bool:
        """Whether all that was to be written is there."""
        return self.status == "done" and all(path.exists() for path in self.outputs.values())

    @classmethod
    def parse(cls, row: Mapping[str, str]) -> SceneRecord:
        """A line as it is read."""
        values: dict[str, Any] = dict(row)
        for name in ("area_m2", "area_px", "seconds"):
            values[name] = float(row[name]) if row[name] else None
        values["footprints"] = int(row["footprints"]) if row["footprints"] else None
        return cls(**values)


@dataclass(frozen=True)
class Manifest:
    """The CSV file that tells of every scene what came of it. A share of the work has one of its own.

    `known` is what all of them tell.
    """

    path: Path
    known: dict[str, SceneRecord]
    shard: Shard | None = None

    @classmethod
    def read(cls, path: Path, shard: Shard | None = None) -> Manifest:
        """What earlier runs and shares noted; a line that a killed run left half-written is passed over.

        Where one share failed and another did the scene, in whatever order, it is done.
        """
        told = [each for file in list_manifests(path) for each in read_last_records(file)]
        known = {each.scene: each for each in sorted(told, key=lambda each: each.status != "failed")}
        own = path.with_name(f"{path.stem}-{shard.name}{path.suffix}") if shard else path
        return cls(own, known, shard)

    @classmethod
    def open(cls, path: Path, shard: Shard | None = None) -> Manifest:
        """The same, ready for further lines; that of all scenes takes over what shares have noted."""
        manifest = cls.read(path, shard)
        manifest.rewrite(list(read_last_records(manifest.path) if shard else manifest.known.values()))
        for share in [] if shard else list_manifests(path)[1:]:
            share.unlink(missing_ok=True)
        return manifest

    def find(self, scene: str, key: str) -> SceneRecord | None:
        """What an earlier run with the same options noted of a scene as it is now."""
        record = self.known.get(scene)
        return record if record is not None and record.key == key and record.status != "failed" else None

    def add(self, record: SceneRecord) -> SceneRecord:
        """Note what came of a scene."""
        self.known[record.scene] = record
        with explain_write_errors(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(format_rows([record]))
        return record

    def finish(self, scenes: Sequence[str]) -> None:
        """Write it anew: one line for each scene, those of this run first and in their order."""
        ordered = dict.fromkeys([*scenes, *([] if self.shard else self.known)])
        self.rewrite([self.known[scene] for scene in ordered])

    def rewrite(self, records: Sequence[SceneRecord]) -> None:
        replace_text(self.path, ",".join(COLUMNS) + "\n" + format_rows(records))


def list_manifests(path: Path) -> list[Path]:
    """The manifest of all scenes, if it is there, and those of shares, which were begun after it."""
    shares = sorted(path.parent.glob(f"{path.stem}-shard-*-of-*{path.suffix}"))
    return [*([path] if path.exists() else []), *shares]


COLUMNS = tuple(column.name for column in fields(SceneRecord))


def format_rows(records: Sequence[SceneRecord]) -> str:
    """Records as lines of CSV."""
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerows(asdict(record) for record in records)
    return text.getvalue()


def read_last_records(path: Path) -> Collection[SceneRecord]:
    """What a manifest told last of each of its scenes."""
    return {each.scene: each for each in read_records(path)}.values()


def read_records(path: Path) -> Iterator[SceneRecord]:
    """The whole lines of a manifest."""
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise ValueError("it has other columns")
            yield from (
                SceneRecord.parse(row) for row in rows if None not in row.values() and None not in row
            )
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: is no manifest of geoseg infer ({shorten_error(error)}); move it away, or give another folder"
        ) from error
