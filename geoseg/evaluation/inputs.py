"""Makes the inputs of a comparison ready: predicted by a model, placed somewhere on Earth, and brought onto one grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import InputError
from geoseg.evaluation.alignment import (
    assign_grid,
    is_georeferenced,
    read_shape,
    refuse_missing,
    warp_to_grid,
)
from geoseg.evaluation.classes import Meaning
from geoseg.evaluation.options import EvaluateOptions
from geoseg.evaluation.sides import PolygonLayer, RasterSide, Side, limit_to_polygons
from geoseg.io.layers import is_vector_file, parse_layer_path
from geoseg.raster.grid import Grid, make_placeholder_grid
from geoseg.raster.mask import Mask, open_mask, open_probability

if TYPE_CHECKING:
    from geoseg.models.card import Card


@dataclass(frozen=True)
class EvaluationInputs:
    """Makes what one question needs, in a scratch folder."""

    question: EvaluateOptions
    scratch: Path

    @cached_property
    def card(self) -> Card:
        """The card of the model that is asked."""
        from geoseg.models.store import find_model

        return find_model(self.question.predicted).card

    def check_prediction(self) -> None:
        """Refuse a prediction that is not there, before long work on another begins."""
        if self.question.runs_model:
            _ = self.card
        elif is_vector_file(self.question.predicted):
            refuse_missing(parse_layer_path(self.question.predicted)[0])
        else:
            refuse_missing(Path(self.question.predicted))

    @property
    def min_area_m2(self) -> float:
        """The smallest predicted footprint that counts."""
        if self.question.min_area_m2 is not None:
            return self.question.min_area_m2
        return self.card.min_area_m2 if self.question.runs_model else 0.0

    def predict(self, image: Path, bands: str | None = None) -> Mask:
        """Run the model over an image, and open what it gives."""
        from geoseg.workflows.infer import infer_scene
        from geoseg.workflows.options import InferOptions

        number = len(list(self.scratch.iterdir()))
        mask, probability = (self.scratch / f"{number}-{what}.tif" for what in ("mask", "probability"))
        options = InferOptions(
            model=self.question.predicted,
            bands=bands,
            threshold=self.question.threshold,
            device=self.question.device or "auto",
            mask=mask,
            probability=probability,
        )
        infer_scene([str(image)], None, options)
        return open_mask(str(mask), probability=str(probability))

    def mask(self, path: str, threshold: float | None = None, probability: str | None = None) -> Mask:
        """A mask on disk, lying somewhere."""
        refuse_missing(Path(path))
        if is_georeferenced(Path(path)):
            return open_mask(path, threshold=threshold, probability=probability)
        grid = self.made_up_grid(Path(path))
        lying = [
            str(assign_grid(Path(each), grid, self.scratch)) if each else None for each in (path, probability)
        ]
        return open_mask(str(lying[0]), threshold=threshold, probability=lying[1])

    @cached_property
    def image(self) -> str | None:
        """The image to predict or to show, lying somewhere."""
        if self.question.image is None:
            return None
        path = Path(self.question.image)
        refuse_missing(path)
        return str(
            path if is_georeferenced(path) else assign_grid(path, self.made_up_grid(path), self.scratch)
        )

    def made_up_grid(self, path: Path) -> Grid:
        """A grid for a raster that does not say where it lies."""
        if self.question.gsd_m is None:
            raise InputError(
                f"{path}: does not say where it lies; say how large its pixels are, e.g. `gsd` 0.3"
            )
        return make_placeholder_grid(read_shape(path), self.question.gsd_m)

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

    def side(self, made: Mask | PolygonLayer, grid: Grid, meaning: Meaning) -> Side:
        """A mask or layer on a grid, its classes renumbered."""
        if isinstance(made, PolygonLayer):
            return made.side(grid, meaning)
        return RasterSide(self.reproject(made, grid), meaning)

    def limit_to_area(self, side: Side, grid: Grid) -> Side:
        """A side, known only in the area that was asked for."""
        if self.question.area is None:
            return side
        return limit_to_polygons(side, PolygonLayer(self.question.area).polygons(grid), grid.width)
