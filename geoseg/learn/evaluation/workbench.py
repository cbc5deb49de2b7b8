"""Where rasters are made ready to be compared: predicted, placed, and brought onto one grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import InputError
from geoseg.footprints.regions.regions import path_and_layer
from geoseg.footprints.trace.mask import Mask, open_mask, open_probability
from geoseg.learn.evaluation.layers import Layer, is_vector
from geoseg.learn.evaluation.legend import Meaning
from geoseg.learn.evaluation.placing import has_place, on_grid, placed, shape_of
from geoseg.learn.evaluation.question import Question
from geoseg.learn.evaluation.sides import RasterSide, Side, only_within
from geoseg.narrator import QUIET, Narrator
from geoseg.raster.grid import Grid, made_up_grid

if TYPE_CHECKING:
    from geoseg.model.card import Card


@dataclass(frozen=True)
class Workbench:
    """Makes what one question needs, in a scratch folder."""

    question: Question
    scratch: Path
    narrator: Narrator = field(default=QUIET)

    @cached_property
    def card(self) -> Card:
        """The card of the model that is asked."""
        from geoseg.model.folder import find_model

        return find_model(self.question.predicted).card

    def find_prediction(self) -> None:
        """Refuse a prediction that is not there, before long work on another begins."""
        if self.question.asks_a_model:
            _ = self.card
        elif is_vector(self.question.predicted):
            refuse_missing(path_and_layer(self.question.predicted)[0])
        else:
            refuse_missing(Path(self.question.predicted))

    @property
    def min_area_m2(self) -> float:
        """The smallest predicted footprint that counts."""
        if self.question.min_area_m2 is not None:
            return self.question.min_area_m2
        return self.card.min_area_m2 if self.question.asks_a_model else 0.0

    def predict(self, image: Path, bands: str | None = None) -> Mask:
        """Run the model over an image, and open what it gives."""
        from geoseg.predict.job import Wishes, plan_job
        from geoseg.predict.journal import Journal
        from geoseg.predict.segment import predict_strips, write_mosaics

        question = self.question
        wishes = Wishes(
            model=question.predicted,
            bands=bands,
            threshold=question.threshold,
            device=question.device or "auto",
        )
        job = plan_job([str(image)], wishes, self.narrator)
        number = len(list(self.scratch.iterdir()))
        mask, probability = (self.scratch / f"{number}-{what}.tif" for what in ("mask", "probability"))
        journal = Journal.beside(mask, job.key)
        with journal.locked():
            predict_strips(job, journal, self.narrator)
            write_mosaics(job, journal, mask, probability)
        journal.remove()
        return open_mask(str(mask), probability=str(probability))

    def mask(self, path: str, threshold: float | None = None, probability: str | None = None) -> Mask:
        """A mask on disk, lying somewhere."""
        refuse_missing(Path(path))
        if has_place(Path(path)):
            return open_mask(path, threshold=threshold, probability=probability)
        grid = self.made_up_grid(Path(path))
        lying = [
            str(placed(Path(each), grid, self.scratch)) if each else None for each in (path, probability)
        ]
        return open_mask(str(lying[0]), threshold=threshold, probability=lying[1])

    @cached_property
    def image(self) -> str | None:
        """The image to predict or to show, lying somewhere."""
        if self.question.image is None:
            return None
        path = Path(self.question.image)
        refuse_missing(path)
        return str(path if has_place(path) else placed(path, self.made_up_grid(path), self.scratch))

    def made_up_grid(self, path: Path) -> Grid:
        """A grid for a raster that does not say where it lies."""
        if self.question.gsd_m is None:
            raise InputError(
                f"{path}: does not say where it lies; say how large its pixels are, e.g. --gsd 0.3"
            )
        return made_up_grid(shape_of(path), self.question.gsd_m)

    def brought(self, mask: Mask, grid: Grid) -> Mask:
        """A mask and its probability on a grid."""
        path = on_grid(Path(mask.path), grid, self.scratch)
        if str(path) == mask.path:
            return mask
        moved = open_mask(str(path), band=mask.band.number, threshold=mask.threshold)
        if mask.probability is None:
            return moved
        probability = on_grid(Path(mask.probability.path), grid, self.scratch)
        return replace(moved, probability=open_probability(str(probability), moved))

    def side(self, made: Mask | Layer, grid: Grid, meaning: Meaning) -> Side:
        """A mask or layer on a grid, its classes renumbered."""
        if isinstance(made, Layer):
            return made.side(grid, meaning, self.narrator)
        return RasterSide(self.brought(made, grid), meaning)

    def within_area(self, side: Side, grid: Grid) -> Side:
        """A side, known only in the area that was asked for."""
        if self.question.area is None:
            return side
        return only_within(side, Layer(self.question.area).polygons(grid, self.narrator), grid.width)


def refuse_missing(path: Path) -> None:
    if "://" not in str(path) and not str(path).startswith("/vsi") and not path.exists():
        raise InputError(f"{path}: no such file")
