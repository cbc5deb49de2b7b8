"""A prediction against the labels of a data set, item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.bandnames import colour, named
from geoseg.errors import InputError
from geoseg.footprints.trace.mask import NODATA, Mask, open_mask
from geoseg.learn.evaluation.layers import Layer, is_vector
from geoseg.learn.evaluation.legend import Legend, Meaning, Words, agreed, words_of_model
from geoseg.learn.evaluation.placing import has_place, placed, shape_of
from geoseg.learn.evaluation.question import Comparison
from geoseg.learn.evaluation.tally import Pair
from geoseg.learn.evaluation.workbench import Workbench, refuse_missing
from geoseg.narrator import listed
from geoseg.prepare.dataset import Dataset, Item
from geoseg.raster.bands import matching_bands
from geoseg.raster.grid import Grid, made_up_grid
from geoseg.raster.opening import open_scene

if TYPE_CHECKING:
    from geoseg.model.card import Card

SUFFIXES = (".tif", ".tiff", ".png", ".gpkg", ".geojson", ".fgb", ".parquet")


@dataclass(frozen=True)
class AgainstDataset:
    """A model, or a folder of results named like the images, against the items of one split."""

    bench: Workbench
    dataset: Dataset

    @property
    def grids(self) -> tuple[Grid, ...]:
        return tuple(judged.grid for judged, _ in self._judged)

    def comparison(self, grids: Sequence[Grid]) -> Comparison:
        pairs = [
            judged.pair(grid, legend) for (judged, legend), grid in zip(self._judged, grids, strict=True)
        ]
        return Comparison(self._judged[0][1].classes, tuple(pairs))

    @cached_property
    def _judged(self) -> tuple[tuple[Judged, Legend], ...]:
        """The items, and what classes stand for: known before the work of predicting begins."""
        question = self.bench.question
        if not question.asks_a_model and not Path(question.predicted).is_dir():
            raise InputError(
                f"{question.predicted}: is no model and no folder; against a data set give a model, which then sees "
                "its images, or a folder of results named like the images"
            )
        items = self._items()
        if question.asks_a_model:
            warn_of_known_places(self.bench, items)
        judged = [Judged(self.bench, self.dataset, item) for item in items]
        spoken = [self._words_of(each) for each in judged]
        own = Words(question.truth, self.dataset.classes)
        legends = {words: agreed(words, own, self.bench.narrator) for words in dict.fromkeys(spoken)}
        return tuple((each, legends[words]) for each, words in zip(judged, spoken, strict=True))

    def _items(self) -> tuple[Item, ...]:
        question, split = self.bench.question, self.bench.question.split or "validation"
        items = self.dataset.split(split)
        there = sorted({item.place for item in items})
        if not items:
            raise InputError(f"{question.truth}: has no item in the split {split}")
        for place in question.places:
            if place not in there:
                raise InputError(f"--place {place}: not in the split {split}; there are {', '.join(there)}")
        return tuple(item for item in items if not question.places or item.place in question.places)

    def _words_of(self, judged: Judged) -> Words:
        """Masks of a folder have the numbers of the data set; models and footprints go by names."""
        question = self.bench.question
        if question.asks_a_model:
            return words_of_model(question.predicted, self.bench.card)
        if isinstance(judged.predicted, Mask):
            return Words(question.predicted, self.dataset.classes, named=False)
        return replace(judged.predicted.words, source=question.predicted)


@dataclass(frozen=True)
class Judged:
    """One item of a data set, and what is predicted of it."""

    bench: Workbench
    dataset: Dataset
    item: Item

    @cached_property
    def image(self) -> Path:
        """The image, lying somewhere."""
        image = self.dataset.image_path(self.item)
        refuse_missing(image)
        if has_place(image):
            return image
        gsd_m = self.item.gsd_m or self.dataset.gsd_m
        return placed(image, made_up_grid(shape_of(image), gsd_m), self.bench.scratch)

    @cached_property
    def predicted(self) -> Mask | Layer:
        question = self.bench.question
        if question.asks_a_model:
            return self.bench.predict(self.image, bands_of(self.bench.card, self.dataset, self.image))
        result = result_for(self.item, Path(question.predicted))
        if is_vector(str(result)):
            return Layer(str(result))
        if has_place(result):
            return open_mask(str(result), threshold=question.threshold)
        lying = placed(result, grid_of(self.image), self.bench.scratch)
        return open_mask(str(lying), threshold=question.threshold)

    @cached_property
    def true(self) -> Mask | Layer:
        """The label."""
        item, label = self.item, self.dataset.label_path(self.item)
        refuse_missing(label)
        if is_vector(str(label)):
            labelled = str(self.dataset.folder / item.labelled) if item.labelled else None
            return Layer(str(label), self.dataset.classes, item.class_field, labelled)
        grid = open_mask(str(label)).grid if has_place(label) else grid_of(self.image)
        return open_mask(str(placed(label, grid, self.bench.scratch, NODATA)))

    @property
    def grid(self) -> Grid:
        """A label that is a raster is compared on its own pixels, polygons on those of the prediction."""
        rasters = [side for side in (self.true, self.predicted) if isinstance(side, Mask)]
        return rasters[0].grid if rasters else grid_of(self.image)

    def pair(self, grid: Grid, legend: Legend) -> Pair:
        bench = self.bench
        truth = bench.side(self.true, grid, self._meaning(legend))
        return Pair(
            name=self.item.image,
            place=self.item.place,
            grid=grid,
            predicted=bench.side(self.predicted, grid, legend.predicted),
            truth=bench.within_area(truth, grid),
            image=str(self.image),
            bands=self.dataset.bands,
            min_area_m2=bench.min_area_m2,
        )

    def _meaning(self, legend: Legend) -> Meaning:
        """What the values of the label stand for; one of them stands for unknown."""
        meaning = legend.true.copy()
        meaning[self.dataset.ignore] = NODATA
        return meaning


def warn_of_known_places(bench: Workbench, items: Sequence[Item]) -> None:
    """Warn where a model is judged at places that it was trained on, as far as their names tell."""
    learnt = set(bench.card.training.get("places", ()))
    known = sorted({item.place for item in items} & learnt)
    if known:
        bench.narrator.warn(
            f"{bench.question.predicted} was trained on places called {listed(known)}; "
            "if they are the same, its scores there tell nothing about other places"
        )


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


def bands_of(card: Card, dataset: Dataset, image: Path) -> str | None:
    """The numbers of the bands that a model wants, where the data set names them."""
    wanted = [named(colour(band), dataset.bands) for band in card.bands]
    if None in wanted:
        return None
    numbers = matching_bands(open_scene([str(image)]).all_bands, dataset.bands, str(image))
    number_of = dict(zip(dataset.bands, numbers, strict=True))
    return ",".join(str(number_of[name]) for name in wanted if name)
