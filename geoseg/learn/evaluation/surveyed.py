"""A prediction against the labels of a data set, item by item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import InputError
from geoseg.footprints.trace.mask import NODATA, Mask, open_mask
from geoseg.learn.evaluation.layers import Layer, is_vector, renumbered
from geoseg.learn.evaluation.legend import Legend, land_classes, shared_classes
from geoseg.learn.evaluation.placing import has_place, placed, shape_of
from geoseg.learn.evaluation.question import Comparison
from geoseg.learn.evaluation.sides import RasterSide, Side
from geoseg.learn.evaluation.tally import Pair
from geoseg.learn.evaluation.workbench import Workbench, refuse_missing
from geoseg.prepare.dataset import Dataset, Item
from geoseg.raster.grid import Grid, made_up_grid
from geoseg.raster.opening import open_scene

if TYPE_CHECKING:
    from geoseg.model.card import Card

SUFFIXES = (".tif", ".tiff", ".png", ".gpkg", ".geojson", ".fgb", ".parquet")


@dataclass(frozen=True)
class OnGrid:
    """A side, and the grid that it is on."""

    side: Side
    grid: Grid


@dataclass(frozen=True)
class AgainstDataset:
    """A model, or a folder of results named like the images, against the items of one split."""

    bench: Workbench
    dataset: Dataset

    def comparison(self) -> Comparison:
        question, items = self.bench.question, self._items()
        if not question.asks_a_model and not Path(question.predicted).is_dir():
            raise InputError(
                f"{question.predicted}: is no model and no folder; against a data set give a model, which then sees "
                "its images, or a folder of results named like the images"
            )
        return Comparison(self._legend.classes, tuple(self._pair(item) for item in items))

    def _items(self) -> tuple[Item, ...]:
        question = self.bench.question
        items = self.dataset.split(question.split)
        there = sorted({item.place for item in items})
        if not items:
            raise InputError(f"{question.truth}: has no item in the split {question.split}")
        for place in question.places:
            if place not in there:
                raise InputError(
                    f"--place {place}: not in the split {question.split}; there are {', '.join(there)}"
                )
        return tuple(item for item in items if not question.places or item.place in question.places)

    @cached_property
    def _legend(self) -> Legend:
        if not self.bench.question.asks_a_model:
            return Legend(self.dataset.classes)
        known = land_classes(self.bench.card)
        return shared_classes(known, self.dataset.classes, self.bench.question.predicted)

    def _pair(self, item: Item) -> Pair:
        image = self._image(item)
        prediction = self._prediction(item, image)
        truth = self._truth(item, image, prediction)
        return Pair(
            name=item.image,
            place=item.place,
            grid=truth.grid,
            predicted=self._predicted_side(prediction, truth.grid),
            truth=self.bench.within_area(truth.side, truth.grid),
            image=str(image),
            min_area_m2=self.bench.min_area_m2,
        )

    def _image(self, item: Item) -> Path:
        image = self.dataset.image_path(item)
        refuse_missing(image)
        if has_place(image):
            return image
        gsd_m = item.gsd_m or self.dataset.gsd_m
        return placed(image, made_up_grid(shape_of(image), gsd_m), self.bench.scratch)

    def _prediction(self, item: Item, image: Path) -> Mask | Layer:
        question = self.bench.question
        if question.asks_a_model:
            return self.bench.predict(image, bands_of(self.bench.card, self.dataset))
        result = result_for(item, Path(question.predicted))
        if is_vector(str(result)):
            return Layer(str(result))
        if has_place(result):
            return open_mask(str(result), threshold=question.threshold)
        lying = placed(result, grid_of(image), self.bench.scratch)
        return open_mask(str(lying), threshold=question.threshold)

    def _predicted_side(self, prediction: Mask | Layer, grid: Grid) -> Side:
        if isinstance(prediction, Layer):
            return prediction.side(grid, narrator=self.bench.narrator)
        return RasterSide(self.bench.brought(prediction, grid), self._legend.predicted)

    def _truth(self, item: Item, image: Path, prediction: Mask | Layer) -> OnGrid:
        """The label: a raster on its own pixels, polygons on those of the prediction."""
        label = self.dataset.label_path(item)
        refuse_missing(label)
        if is_vector(str(label)):
            grid = grid_of(image) if isinstance(prediction, Layer) else prediction.grid
            return OnGrid(self._true_layer(item, label, grid), grid)
        grid = open_mask(str(label)).grid if has_place(label) else grid_of(image)
        meaning = self._legend.true.copy()
        meaning[self.dataset.ignore] = NODATA
        lying = placed(label, grid, self.bench.scratch, NODATA)
        return OnGrid(RasterSide(open_mask(str(lying)), meaning), grid)

    def _true_layer(self, item: Item, label: Path, grid: Grid) -> Side:
        numbers = {entry.name: number for number, entry in enumerate(self.dataset.classes)}
        labelled = str(self.dataset.folder / item.labelled) if item.labelled else None
        layer = Layer(str(label), item.class_field, numbers)
        return renumbered(layer.side(grid, labelled, self.bench.narrator), self._legend.true)


def result_for(item: Item, folder: Path) -> Path:
    """The result in a folder that is named like an item's image."""
    stem = Path(item.image).stem
    found = next((path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").exists()), None)
    if found is None:
        raise InputError(
            f"{folder}: holds no result for {item.image}; it should be called {stem}.tif or {stem}.gpkg"
        )
    return found


def grid_of(image: Path) -> Grid:
    """Where an image lies."""
    return open_scene([str(image)]).native


def bands_of(card: Card, dataset: Dataset) -> str | None:
    """The numbers of the bands that a model wants, where the data set names them."""
    if not set(card.bands) <= set(dataset.bands):
        return None
    return ",".join(str(dataset.bands.index(band) + 1) for band in card.bands)
