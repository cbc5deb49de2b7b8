"""One layer on its way from Earth Engine: tile by tile, through a bucket, or to where only the user can reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ee

from gee import batch, provenance
from gee.download import Download, Statistics, megapixels
from gee.geotiff import Form, assemble
from gee.layers import Layer, Survey
from gee.parts import Parts
from gee.session import Session
from gee.tiles import Appetite
from geoseg.narrator import Narrator
from geoseg.raster.grid import Window

MANY_TILES = 500


@dataclass(frozen=True)
class Fetching:
    """A layer with its expression and its facts, ready to be asked for."""

    layer: Layer
    image: ee.Image
    form: Form
    facts: Mapping[str, Any]
    earth: Session
    destination: batch.Destination
    out: Path
    narrator: Narrator

    @property
    def sha256(self) -> str:
        return str(self.facts["geoseg:sha256"])

    @property
    def path(self) -> Path:
        """The finished file."""
        return self.out / f"{self.layer.name}.tif"

    @property
    def parts(self) -> Parts:
        """The tiles on their way, under the hash of what they show."""
        return Parts(self.out / f"{self.layer.name}.{self.sha256[:12]}.{self.destination.via}.parts")

    @property
    def task(self) -> batch.Task:
        return batch.Task(self.image, self.form, self.layer.name, self.sha256, self.destination)

    def bring(self, tiles: Sequence[Window]) -> dict[str, Any]:
        """Fetch the layer and leave it as one file with its record."""
        survey = self.survey()
        with self.parts.locked():
            taken = asdict(self.tile_by_tile(tiles)) if self.destination.is_direct else self.by_bucket()
            self.record(survey, f"./{self.path.name}", {"geoseg:requests": taken})
            assemble(self.parts.finished(), self.form, self.path)
        self.parts.clear()
        return {"layer": self.layer.name, "path": str(self.path), "sha256": self.sha256, **taken}

    def survey(self) -> Survey:
        """What the layer is made of; refuses what would be empty."""
        return self.layer.recipe.survey(self.earth, self.form.grid, self.narrator)

    def record(self, survey: Survey, href: str, facts: Mapping[str, Any] = {}) -> None:
        """Write the record beside the file."""
        item = provenance.item(self.layer, self.form, survey, {**self.facts, **facts})
        item["assets"]["data"]["href"] = href
        provenance.write_item(self.path.with_suffix(".json"), item)

    def tile_by_tile(self, tiles: Sequence[Window]) -> Statistics:
        """Fetch these tiles, telling the progress."""
        if len(tiles) > MANY_TILES:
            self.narrator.warn(
                f"{self.layer.name} takes {len(tiles)} requests; Earth Engine exports large areas faster by itself: "
                "--via gcs or --via drive"
            )
        appetite = Appetite(self.layer.first_side)
        with self.narrator.task(self.layer.name, megapixels(tiles), "MP") as progress:
            return Download(self.earth, self.image, self.form, self.parts, appetite, progress).run(tiles)

    def by_bucket(self) -> dict[str, Any]:
        """Let Earth Engine export to a bucket, and bring the files from there."""
        self.finished_task()
        batch.fetch(self.earth, self.task, self.parts)
        return {"files": len(self.parts.finished())}

    def finished_task(self) -> str:
        """The batch task of this layer, started if need be and followed to its end."""
        name = batch.start(self.earth, self.task)
        self.narrator.say(
            f"{self.layer.name}: task {self.task.description} goes on at Earth Engine even if you stop here; the "
            "same command finds it again"
        )
        batch.watch(self.earth, name, self.narrator)
        return name

    def leave_there(self) -> dict[str, Any]:
        """Let Earth Engine export to where only the user can reach, and say what to do next."""
        survey = self.survey()
        name = self.finished_task()
        where = self.destination.where(self.task.stem)
        self.record(survey, where)
        self.narrator.say(f"{self.layer.name} is in {where}. Next: {self.next_step}")
        return {"layer": self.layer.name, "where": where, "operation": name}

    @property
    def next_step(self) -> str:
        """What the user does with a result that lies elsewhere."""
        if self.destination.via == "asset":
            return f"geoseg export --asset {self.destination.asset(self.task.stem)}"
        return f"download {self.task.stem}*.tif into {self.out}, then: geoseg infer {self.out}"
