"""From options to pairs of a prediction and its truth: one file against another, or a model against a data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from geoseg.datasets.schema import Dataset, Item, read_dataset
from geoseg.errors import InputError
from geoseg.evaluation.alignment import assign_grid, is_georeferenced, read_shape, refuse_missing
from geoseg.evaluation.classes import (
    ClassLegend,
    Meaning,
    SideClasses,
    match_classes,
    read_mask_classes,
    read_model_classes,
)
from geoseg.evaluation.inputs import EvaluationInputs
from geoseg.evaluation.options import EvaluateOptions, refuse_unused_options
from geoseg.evaluation.sides import Comparison, EvaluationPair, PolygonLayer, RestrictedSide, VectorSide
from geoseg.io.layers import is_vector_file
from geoseg.progress import list_names
from geoseg.raster.bands import find_band_name, find_color, match_bands
from geoseg.raster.coding import NODATA
from geoseg.raster.grid import Grid, make_placeholder_grid
from geoseg.raster.mask import Mask, open_mask
from geoseg.raster.scene import open_scene

if TYPE_CHECKING:
    from geoseg.models.card import Card

log = logging.getLogger(__name__)


RESULT_SUFFIXES = (".tif", ".tiff", ".png", ".gpkg", ".geojson", ".fgb", ".parquet")


@dataclass(frozen=True)
class DatasetComparison:
    """A model, or a folder of results named like the images, against the items of one split."""

    inputs: EvaluationInputs
    dataset: Dataset

    @property
    def grids(self) -> tuple[Grid, ...]:
        return tuple(judged.grid for judged, _ in self._predicted_items)

    def comparison(self, grids: Sequence[Grid]) -> Comparison:
        pairs = [
            judged.pair(grid, legend)
            for (judged, legend), grid in zip(self._predicted_items, grids, strict=True)
        ]
        return Comparison(self._predicted_items[0][1].classes, tuple(pairs))

    @cached_property
    def _predicted_items(self) -> tuple[tuple[PredictedItem, ClassLegend], ...]:
        """The items, and what classes stand for: known before the work of predicting begins."""
        question = self.inputs.question
        if not question.runs_model and not Path(question.predicted).is_dir():
            raise InputError(
                f"{question.predicted}: is no model and no folder; against a data set give a model, which then sees "
                "its images, or a folder of results named like the images"
            )
        items = self._items()
        if question.runs_model:
            warn_of_known_places(self.inputs, items)
        judged = [PredictedItem(self.inputs, self.dataset, item) for item in items]
        spoken = [self._find_item_classes(each) for each in judged]
        own = SideClasses(question.truth, self.dataset.classes)
        legends = {words: match_classes(words, own) for words in dict.fromkeys(spoken)}
        return tuple((each, legends[words]) for each, words in zip(judged, spoken, strict=True))

    def _items(self) -> tuple[Item, ...]:
        question, split = self.inputs.question, self.inputs.question.split or "validation"
        items = self.dataset.split(split)
        there = sorted({item.place for item in items})
        if not items:
            raise InputError(f"{question.truth}: has no item in the split {split}")
        for place in question.places:
            if place not in there:
                raise InputError(f"`places` {place}: not in the split {split}; there are {', '.join(there)}")
        return tuple(item for item in items if not question.places or item.place in question.places)

    def _find_item_classes(self, judged: PredictedItem) -> SideClasses:
        """Masks of a folder have the numbers of the data set; models and footprints go by names."""
        question = self.inputs.question
        if question.runs_model:
            return read_model_classes(question.predicted, self.inputs.card)
        if isinstance(judged.predicted, Mask):
            return SideClasses(question.predicted, self.dataset.classes, named=False)
        return replace(judged.predicted.words, source=question.predicted)


@dataclass(frozen=True)
class PredictedItem:
    """One item of a data set, and what is predicted of it."""

    inputs: EvaluationInputs
    dataset: Dataset
    item: Item

    @cached_property
    def image(self) -> Path:
        """The image, lying somewhere."""
        image = self.dataset.image_path(self.item)
        refuse_missing(image)
        if is_georeferenced(image):
            return image
        gsd_m = self.item.gsd_m or self.dataset.gsd_m
        return assign_grid(image, make_placeholder_grid(read_shape(image), gsd_m), self.inputs.scratch)

    @cached_property
    def predicted(self) -> Mask | PolygonLayer:
        question = self.inputs.question
        if question.runs_model:
            return self.inputs.predict(self.image, find_bands(self.inputs.card, self.dataset, self.image))
        result = find_result(self.item, Path(question.predicted))
        if is_vector_file(str(result)):
            return PolygonLayer(str(result))
        if is_georeferenced(result):
            return open_mask(str(result), threshold=question.threshold)
        lying = assign_grid(result, read_image_grid(self.image), self.inputs.scratch)
        return open_mask(str(lying), threshold=question.threshold)

    @cached_property
    def true(self) -> Mask | PolygonLayer:
        """The label."""
        item, label = self.item, self.dataset.label_path(self.item)
        refuse_missing(label)
        if is_vector_file(str(label)):
            labelled = str(self.dataset.folder / item.labelled) if item.labelled else None
            return PolygonLayer(str(label), self.dataset.classes, item.class_field, labelled)
        grid = open_mask(str(label)).grid if is_georeferenced(label) else read_image_grid(self.image)
        return open_mask(str(assign_grid(label, grid, self.inputs.scratch, NODATA)))

    @property
    def grid(self) -> Grid:
        """A label that is a raster is compared on its own pixels, polygons on those of the prediction."""
        rasters = [side for side in (self.true, self.predicted) if isinstance(side, Mask)]
        return rasters[0].grid if rasters else read_image_grid(self.image)

    def pair(self, grid: Grid, legend: ClassLegend) -> EvaluationPair:
        bench = self.inputs
        truth = bench.side(self.true, grid, self._meaning(legend))
        return EvaluationPair(
            name=self.item.image,
            place=self.item.place,
            grid=grid,
            predicted=bench.side(self.predicted, grid, legend.predicted),
            truth=bench.limit_to_area(truth, grid),
            image=str(self.image),
            bands=self.dataset.bands,
            min_area_m2=bench.min_area_m2,
        )

    def _meaning(self, legend: ClassLegend) -> Meaning:
        """What the values of the label stand for; one of them stands for unknown."""
        meaning = legend.true.copy()
        meaning[self.dataset.ignore] = NODATA
        return meaning


def warn_of_known_places(bench: EvaluationInputs, items: Sequence[Item]) -> None:
    """Warn where a model is judged at places that it was trained on, as far as their names tell."""
    learnt = set(bench.card.training.get("places", ()))
    known = sorted({item.place for item in items} & learnt)
    if known:
        log.warning(
            f"{bench.question.predicted} was trained on places called {list_names(known)}; "
            "if they are the same, its scores there tell nothing about other places"
        )


def find_result(item: Item, folder: Path) -> Path:
    """The result in a folder that is named like an item's image."""
    stem = Path(item.image).stem
    found = next((path for suffix in RESULT_SUFFIXES if (path := folder / f"{stem}{suffix}").exists()), None)
    if found is None:
        raise InputError(
            f"{folder}: holds no result for {item.image}; it should be called {stem}.tif or {stem}.gpkg"
        )
    return found


def read_image_grid(image: Path) -> Grid:
    """Where an image lies."""
    return open_scene([str(image)]).native


def find_bands(card: Card, dataset: Dataset, image: Path) -> str | None:
    """The numbers of the bands that a model wants, where the data set names them."""
    wanted = [find_band_name(find_color(band), dataset.bands) for band in card.bands]
    if None in wanted:
        return None
    numbers = match_bands(open_scene([str(image)]).all_bands, dataset.bands, str(image))
    number_of = dict(zip(dataset.bands, numbers, strict=True))
    return ",".join(str(number_of[name]) for name in wanted if name)


GSD_M = 0.3


class ComparisonSource(Protocol):
    """A prediction and its truth, opened."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The pixels that each pair would best be compared in."""

    def comparison(self, grids: Sequence[Grid]) -> Comparison:
        """The pairs on some grids."""


def build_comparisons(questions: Sequence[EvaluateOptions], scratch: Path) -> tuple[Comparison, ...]:
    """Open several predictions of one truth on the same pixels; what has to be made for it lies in the scratch folder."""
    refuse_unused_options(questions)
    benches = [EvaluationInputs(question, scratch) for question in questions]
    for bench in benches:
        bench.check_prediction()
    opened = [choose_source(bench) for bench in benches]
    finest = [
        min(grids, key=lambda grid: grid.gsd_m)
        for grids in zip(*(each.grids for each in opened), strict=True)
    ]
    return limit_to_common_ground([each.comparison(finest) for each in opened])


def choose_source(bench: EvaluationInputs) -> ComparisonSource:
    truth = Path(bench.question.truth)
    return (
        DatasetComparison(bench, read_dataset(truth))
        if bench.question.against_dataset
        else FileComparison(bench)
    )


def limit_to_common_ground(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The same comparisons, each only where the predictions of all others know something too."""
    together = [limit_to_shared(pairs) for pairs in zip(*(each.pairs for each in comparisons), strict=True)]
    return tuple(
        replace(each, pairs=pairs)
        for each, pairs in zip(comparisons, zip(*together, strict=True), strict=True)
    )


def limit_to_shared(pairs: Sequence[EvaluationPair]) -> list[EvaluationPair]:
    """Pairs of one scene. A prediction that consists of polygons knows all of it."""
    shared = []
    for pair in pairs:
        truth = pair.truth
        for other in pairs:
            if other is not pair and not isinstance(other.predicted, VectorSide):
                truth = RestrictedSide(truth, other.predicted)
        shared.append(replace(pair, truth=truth))
    return shared


@dataclass(frozen=True)
class FileComparison:
    """A prediction against one mask, or one layer of footprints."""

    inputs: EvaluationInputs

    @cached_property
    def predicted(self) -> Mask | PolygonLayer:
        question = self.inputs.question
        if is_vector_file(question.predicted):
            return PolygonLayer(question.predicted)
        if not question.runs_model:
            return self.inputs.mask(question.predicted, question.threshold, question.probability)
        if self.inputs.image is None:
            raise InputError(
                f"{question.predicted}: a model needs an image to predict; give `image` scene.tif"
            )
        return self.inputs.predict(Path(self.inputs.image))

    @cached_property
    def true(self) -> Mask | PolygonLayer:
        source = self.inputs.question.truth
        return PolygonLayer(source) if is_vector_file(source) else self.inputs.mask(source)

    @property
    def grids(self) -> tuple[Grid, ...]:
        masks = [side for side in (self.true, self.predicted) if isinstance(side, Mask)]
        return (masks[0].grid if masks else self._grid_of_layers(),)

    def comparison(self, grids: Sequence[Grid]) -> Comparison:
        (grid,), bench = grids, self.inputs
        name = Path(bench.question.truth).name
        legend = match_classes(*self._find_classes())
        pair = EvaluationPair(
            name=name,
            place=name,
            grid=grid,
            predicted=bench.side(self.predicted, grid, legend.predicted),
            truth=bench.limit_to_area(bench.side(self.true, grid, legend.true), grid),
            image=bench.image,
            min_area_m2=bench.min_area_m2,
        )
        return Comparison(legend.classes, (pair,))

    def _find_classes(self) -> tuple[SideClasses, SideClasses]:
        """The classes of both sides; a mask beside a model has the model's."""
        question, sides = self.inputs.question, (self.predicted, self.true)
        if not question.runs_model:
            predicted, true = (read_mask_classes(s) if isinstance(s, Mask) else s.words for s in sides)
            return predicted, true
        known = read_model_classes(question.predicted, self.inputs.card)
        own = SideClasses(question.truth, known.classes, named=False)
        return known, own if isinstance(self.true, Mask) else self.true.words

    def _grid_of_layers(self) -> Grid:
        """A grid for two layers of footprints."""
        question = self.inputs.question
        if question.area is None:
            log.info(f"Compared within the box around {question.truth}; `area` says where it is complete")
        return PolygonLayer(question.area or question.truth).own_grid(question.gsd_m or GSD_M)
