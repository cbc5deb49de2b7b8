"""Makes the inputs of a comparison ready: predicted by a model, outlined, placed somewhere on Earth, brought onto one grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import InputError
from geoseg.evaluation.inputs.alignment import (
    assign_grid,
    is_georeferenced,
    read_shape,
    refuse_missing,
    warp_to_grid,
)
from geoseg.evaluation.inputs.classes import Lookup
from geoseg.evaluation.inputs.layers import CLASS, PolygonLayer
from geoseg.evaluation.inputs.maps import ClassMap, RasterMap, limit_to_polygons
from geoseg.evaluation.inputs.requests import EvaluationRequest
from geoseg.progress import speak_of_problems_only
from geoseg.raster.coding import NODATA
from geoseg.raster.grid import Grid, make_placeholder_grid
from geoseg.raster.mask import Mask, open_mask, open_probability
from geoseg.workflows.options import FootprintOptions
from geoseg.workflows.vectorize import vectorize_mask

if TYPE_CHECKING:
    from geoseg.models.card import Card

ALL_CLASSES = {value: str(value) for value in range(1, NODATA)}
PREDICTED = "footprints.parquet"


@dataclass(frozen=True)
class OutlinedMask:
    """A mask, and the footprints that are made of it."""

    mask: Mask
    outlines: PolygonLayer
    parts_buildings: bool = False
    """Whether these footprints part buildings that touch in the mask."""


Source = OutlinedMask | PolygonLayer


@dataclass
class Outliner:
    """Makes footprints of masks as `geoseg vectorize` does; of one that several predictions are compared with, only once."""

    scratch: Path
    _layers: dict[tuple[str, float | None, float | None], PolygonLayer] = field(default_factory=dict)

    def outline(self, mask: Mask, file: Path, min_area_m2: float | None = None) -> OutlinedMask:
        """A mask of a file and its footprints, whose class is the number that it has in the mask."""
        key = str(file), mask.threshold, min_area_m2
        if key not in self._layers:
            path = self.scratch / f"{len(list(self.scratch.iterdir()))}-outlines.parquet"
            vectorize_mask(mask, path, FootprintOptions(min_area_m2=min_area_m2), names=ALL_CLASSES)
            self._layers[key] = PolygonLayer(str(path))
        return OutlinedMask(mask, self._layers[key])


@dataclass(frozen=True)
class EvaluationInputs:
    """Makes what one request needs, in a scratch folder."""

    request: EvaluationRequest
    outliner: Outliner

    @property
    def scratch(self) -> Path:
        return self.outliner.scratch

    @cached_property
    def card(self) -> Card:
        """The card of the model that is to predict."""
        from geoseg.models.store import find_model

        return find_model(self.request.predicted).card

    def check_model(self) -> None:
        """Refuse a model that is not there, before long work on another begins."""
        if self.request.runs_model:
            _ = self.card

    @property
    def min_area_m2(self) -> float:
        """The smallest predicted footprint that counts."""
        if self.request.options.min_area_m2 is not None:
            return self.request.options.min_area_m2
        return self.card.min_area_m2 if self.request.runs_model else 0.0

    def predict(self, image: Path, bands: str | None = None) -> OutlinedMask:
        """Run the model over an image as `geoseg infer` does, and open what it gives."""
        from geoseg.workflows.infer import infer_scene
        from geoseg.workflows.options import InferOptions

        number, asked = len(list(self.scratch.glob(f"*-{PREDICTED}"))), self.request.options
        mask, probability = (self.scratch / f"{number}-{what}.tif" for what in ("mask", "probability"))
        footprints = self.scratch / f"{number}-{PREDICTED}"
        options = InferOptions(
            model=self.request.predicted,
            bands=bands,
            threshold=asked.threshold,
            min_area_m2=asked.min_area_m2,
            device=asked.device or "auto",
            mask=mask,
            probability=probability,
        )
        with speak_of_problems_only(number > 0):
            infer_scene([str(image)], footprints, options)
        return OutlinedMask(
            open_mask(str(mask), probability=str(probability)),
            PolygonLayer(str(footprints), self.card.classes, CLASS),
            parts_buildings=bool(self.card.separators),
        )

    def open_prediction(
        self, path: Path, grid: Grid | None = None, probability: str | None = None
    ) -> OutlinedMask:
        """A predicted mask or probability on disk; `grid` is where it lies, if it does not say."""
        options = self.request.options
        mask = self.open_mask(path, options.threshold, probability, grid)
        return self.outliner.outline(mask, path, options.min_area_m2)

    def open_truth(self, path: Path, grid: Grid | None = None) -> OutlinedMask:
        """A true mask on disk; `grid` is where it lies, if it does not say."""
        return self.outliner.outline(self.open_mask(path, grid=grid), path)

    def open_mask(
        self,
        path: Path,
        threshold: float | None = None,
        probability: str | None = None,
        grid: Grid | None = None,
    ) -> Mask:
        """A mask on disk, lying somewhere."""
        refuse_missing(path)
        if is_georeferenced(path):
            return open_mask(str(path), threshold=threshold, probability=probability)
        grid = grid or self.make_grid(path)
        placed = str(assign_grid(path, grid, self.scratch))
        if probability:
            probability = str(assign_grid(Path(probability), grid, self.scratch))
        return open_mask(placed, threshold=threshold, probability=probability)

    @cached_property
    def image(self) -> str | None:
        """The image to predict or to show, lying somewhere."""
        if self.request.options.image is None:
            return None
        path = Path(self.request.options.image)
        refuse_missing(path)
        return str(path if is_georeferenced(path) else assign_grid(path, self.make_grid(path), self.scratch))

    def make_grid(self, path: Path) -> Grid:
        """A grid for a raster that does not say where it lies."""
        if self.request.options.gsd_m is None:
            raise InputError(
                f"{path}: does not say where it lies; say how large its pixels are, e.g. `gsd_m` 0.3"
            )
        return make_placeholder_grid(read_shape(path), self.request.options.gsd_m)

    def reproject(self, mask: Mask, grid: Grid) -> Mask:
        """A mask and its probability on a grid."""
        path = warp_to_grid(Path(mask.path), grid, self.scratch)
        if str(path) == mask.path:
            return mask
        moved = open_mask(str(path), band=mask.band.number, threshold=mask.threshold)
        if mask.probability is None:
            return moved
        probability = warp_to_grid(Path(mask.probability.path), grid, self.scratch)
        return replace(moved, probability=open_probability(str(probability), moved.grid))

    def make_map(self, source: Source, grid: Grid, lookup: Lookup) -> ClassMap:
        """A mask or layer on a grid, its classes renumbered."""
        if isinstance(source, PolygonLayer):
            return source.to_map(grid, lookup)
        outlines = source.outlines.to_map(grid, lookup)
        return RasterMap(self.reproject(source.mask, grid), lookup, outlines, source.parts_buildings)

    def limit_to_area(self, truth: ClassMap, grid: Grid) -> ClassMap:
        """The truth, known only in the area that was asked for."""
        if self.request.options.area is None:
            return truth
        return limit_to_polygons(
            truth, PolygonLayer.of_ground(self.request.options.area).polygons(grid), grid.width
        )
