"""From requests to pairs of a prediction and its truth: one file against another, or a model against a data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from geoseg.datasets.schema import Dataset, Item, read_dataset
from geoseg.errors import InputError
from geoseg.evaluation.inputs.alignment import assign_grid, is_georeferenced, read_shape, refuse_missing
from geoseg.evaluation.inputs.classes import (
    ClassLegend,
    ClassScheme,
    Lookup,
    match_classes,
    read_mask_classes,
    read_model_classes,
)
from geoseg.evaluation.inputs.layers import PolygonLayer
from geoseg.evaluation.inputs.maps import Comparison, EvaluationPair, RestrictedMap, VectorMap
from geoseg.evaluation.inputs.requests import EvaluationRequest
from geoseg.evaluation.inputs.sources import EvaluationInputs, OutlinedMask, Outliner, Source
from geoseg.io.addresses import is_vector_file
from geoseg.progress import list_names
from geoseg.raster.bands import find_band_name, find_color, match_bands
from geoseg.raster.coding import NODATA
from geoseg.raster.grid import Grid, make_placeholder_grid
from geoseg.raster.mask import open_mask
from geoseg.raster.palette import ClassEntry
from geoseg.raster.scene import open_scene

if TYPE_CHECKING:
    from geoseg.models.card import Card

log = logging.getLogger(__name__)


RESULT_SUFFIXES = (".tif", ".tiff", ".png", ".gpkg", ".geojson", ".fgb", ".parquet")
GSD_M = 0.3
"""The pixels in which two layers of footprints are compared, where nobody says otherwise."""


class ComparisonSource(Protocol):
    """A prediction and its truth, opened."""

    @property
    def classes(self) -> tuple[ClassEntry, ...]:
        """The classes that they are compared in; a model does not predict for that."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The pixels that each pair would best be compared in."""

    def compare(self, grids: Sequence[Grid]) -> Comparison:
        """The pairs on some grids."""


def build_comparisons(requests: Sequence[EvaluationRequest], scratch: Path) -> tuple[Comparison, ...]:
    """Open several predictions of one truth on the same pixels; what has to be made for it lies in the scratch folder."""
    outliner = Outliner(scratch)
    inputs = [EvaluationInputs(request, outliner) for request in requests]
    for each in inputs:
        each.check_model()
    sources = [open_source(each) for each in inputs]
    refuse_different_classes(requests, sources)
    finest = [
        min(grids, key=lambda grid: grid.gsd_m)
        for grids in zip(*(source.grids for source in sources), strict=True)
    ]
    return limit_to_common_ground([source.compare(finest) for source in sources])


def open_source(inputs: EvaluationInputs) -> ComparisonSource:
    if inputs.request.has_dataset:
        return DatasetComparison(inputs, read_dataset(Path(inputs.request.truth)))
    return FileComparison(inputs)


def refuse_different_classes(
    requests: Sequence[EvaluationRequest], sources: Sequence[ComparisonSource]
) -> None:
    """Refuse predictions that cannot stand in one table, before the first of them is made."""
    names = [list_names([entry.name for entry in source.classes[1:]]) for source in sources]
    for request, own in zip(requests, names, strict=True):
        if own != names[0]:
            raise InputError(
                f"{request.predicted}: is compared in the classes {own}, but {requests[0].predicted} in {names[0]}; "
                "evaluate them in two runs"
            )


def limit_to_common_ground(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The same comparisons, each only where the predictions of all others know something too."""
    by_scene = zip(*(comparison.pairs for comparison in comparisons), strict=True)
    limited = zip(*map(limit_to_shared, by_scene), strict=True)
    return tuple(
        replace(comparison, pairs=pairs) for comparison, pairs in zip(comparisons, limited, strict=True)
    )


def limit_to_shared(pairs: Sequence[EvaluationPair]) -> list[EvaluationPair]:
    """Pairs of one scene. A prediction that consists of polygons knows all of it."""
    shared = []
    for pair in pairs:
        truth = pair.truth
        for other in pairs:
            if other is not pair and not isinstance(other.predicted, VectorMap):
                truth = RestrictedMap(truth, other.predicted)
        shared.append(replace(pair, truth=truth))
    return shared


@dataclass(frozen=True)
class DatasetComparison:
    """A model, or a folder of results named like the images, against the items of one split."""

    inputs: EvaluationInputs
    dataset: Dataset

    @property
    def classes(self) -> tuple[ClassEntry, ...]:
        return self._items[0][1].classes

    @property
    def grids(self) -> tuple[Grid, ...]:
        return tuple(item.grid for item, _ in self._items)

    def compare(self, grids: Sequence[Grid]) -> Comparison:
        pairs = [item.pair(grid, legend) for (item, legend), grid in zip(self._items, grids, strict=True)]
        return Comparison(self.classes, tuple(pairs))

    @cached_property
    def _items(self) -> tuple[tuple[PredictedItem, ClassLegend], ...]:
        """The items, and what classes stand for: known before the work of predicting begins."""
        request = self.inputs.request
        if not request.runs_model and not Path(request.predicted).is_dir():
            raise InputError(
                f"{request.predicted}: is no model and no folder; against a data set give a model, which then sees "
                "its images, or a folder of results named like the images"
            )
        chosen = self._choose_items()
        if request.runs_model:
            warn_of_known_places(self.inputs, chosen)
        items = [PredictedItem(self.inputs, self.dataset, item) for item in chosen]
        schemes = [self._find_scheme(item) for item in items]
        own = ClassScheme(request.truth, self.dataset.classes)
        legends = {scheme: match_classes(scheme, own) for scheme in dict.fromkeys(schemes)}
        return tuple((item, legends[scheme]) for item, scheme in zip(items, schemes, strict=True))

    def _choose_items(self) -> tuple[Item, ...]:
        request, options = self.inputs.request, self.inputs.request.options
        split = options.split or "validation"
        items = self.dataset.split(split)
        present = sorted({item.place for item in items})
        if not items:
            raise InputError(f"{request.truth}: has no item in the split {split}")
        for place in options.places:
            if place not in present:
                raise InputError(
                    f"`places` {place}: not in the split {split}; there are {', '.join(present)}"
                )
        return tuple(item for item in items if not options.places or item.place in options.places)

    def _find_scheme(self, item: PredictedItem) -> ClassScheme:
        """Masks of a folder have the numbers of the data set; models and footprints go by names."""
        request = self.inputs.request
        if request.runs_model:
            return read_model_classes(request.predicted, self.inputs.card)
        if isinstance(item.predicted, OutlinedMask):
            return ClassScheme(request.predicted, self.dataset.classes, named=False)
        return replace(item.predicted.scheme, source=request.predicted)


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
    def predicted(self) -> Source:
        request = self.inputs.request
        if request.runs_model:
            return self.inputs.predict(self.image, find_bands(self.inputs.card, self.dataset, self.image))
        result = find_result(self.item, Path(request.predicted))
        if is_vector_file(str(result)):
            return PolygonLayer(str(result))
        return self.inputs.open_prediction(result, read_image_grid(self.image))

    @cached_property
    def true(self) -> Source:
        """The label."""
        item, label = self.item, self.dataset.label_path(self.item)
        refuse_missing(label)
        if is_vector_file(str(label)):
            labelled = str(self.dataset.folder / item.labelled) if item.labelled else None
            return PolygonLayer(str(label), self.dataset.classes, item.class_field, labelled)
        grid = open_mask(str(label)).grid if is_georeferenced(label) else read_image_grid(self.image)
        placed = assign_grid(label, grid, self.inputs.scratch, NODATA)
        return self.inputs.outliner.outline(open_mask(str(placed)), label)

    @property
    def grid(self) -> Grid:
        """A label that is a raster is compared on its own pixels, polygons on those of the prediction."""
        for source in (self.true, self.predicted):
            if isinstance(source, OutlinedMask):
                return source.mask.grid
        return read_image_grid(self.image)

    def pair(self, grid: Grid, legend: ClassLegend) -> EvaluationPair:
        inputs = self.inputs
        truth = inputs.make_map(self.true, grid, self._make_lookup(legend))
        return EvaluationPair(
            name=self.item.image,
            place=self.item.place,
            grid=grid,
            predicted=inputs.make_map(self.predicted, grid, legend.predicted),
            truth=inputs.limit_to_area(truth, grid),
            image=str(self.image),
            bands=self.dataset.bands,
            min_area_m2=inputs.min_area_m2,
        )

    def _make_lookup(self, legend: ClassLegend) -> Lookup:
        """What the values of the label stand for; one of them stands for unknown."""
        lookup = legend.true.copy()
        lookup[self.dataset.ignore] = NODATA
        return lookup


def warn_of_known_places(inputs: EvaluationInputs, items: Sequence[Item]) -> None:
    """Warn where a model is judged at places that it was trained on, as far as their names tell."""
    trained = set(inputs.card.training.get("places", ()))
    known = sorted({item.place for item in items} & trained)
    if known:
        log.warning(
            f"{inputs.request.predicted} was trained on places called {list_names(known)}; "
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
    """The numbers of the bands that a model reads, where the data set names them."""
    names = [find_band_name(find_color(band), dataset.bands) for band in card.bands]
    if None in names:
        return None
    numbers = match_bands(open_scene([str(image)]).all_bands, dataset.bands, str(image))
    number_of = dict(zip(dataset.bands, numbers, strict=True))
    return ",".join(str(number_of[name]) for name in names if name)


@dataclass(frozen=True)
class FileComparison:
    """A prediction against one mask, or one layer of footprints."""

    inputs: EvaluationInputs

    @cached_property
    def predicted(self) -> Source:
        request = self.inputs.request
        if is_vector_file(request.predicted):
            return PolygonLayer(request.predicted)
        if not request.runs_model:
            return self.inputs.open_prediction(Path(request.predicted), None, request.probability)
        if self.inputs.image is None:
            raise InputError(
                f"{request.predicted}: a model needs an image to predict; give `image` scene.tif"
            )
        return self.inputs.predict(Path(self.inputs.image))

    @cached_property
    def true(self) -> Source:
        truth = self.inputs.request.truth
        if is_vector_file(truth):
            return PolygonLayer(truth)
        return self.inputs.open_truth(Path(truth))

    @property
    def classes(self) -> tuple[ClassEntry, ...]:
        return self.legend.classes

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The truth's pixels, where it has any, else those of the prediction."""
        for source in (self.true, self.predicted):
            if isinstance(source, OutlinedMask):
                return (source.mask.grid,)
        return (self._make_grid_of_layers(),)

    def compare(self, grids: Sequence[Grid]) -> Comparison:
        (grid,), inputs, legend = grids, self.inputs, self.legend
        name = Path(inputs.request.truth).name
        pair = EvaluationPair(
            name=name,
            place=name,
            grid=grid,
            predicted=inputs.make_map(self.predicted, grid, legend.predicted),
            truth=inputs.limit_to_area(inputs.make_map(self.true, grid, legend.true), grid),
            image=inputs.image,
            min_area_m2=inputs.min_area_m2,
        )
        return Comparison(legend.classes, (pair,))

    @cached_property
    def legend(self) -> ClassLegend:
        """The classes of both; a mask beside a model has the model's."""
        request = self.inputs.request
        if not request.runs_model:
            return match_classes(find_scheme(self.predicted), find_scheme(self.true))
        known = read_model_classes(request.predicted, self.inputs.card)
        own = ClassScheme(request.truth, known.classes, named=False)
        return match_classes(known, own if isinstance(self.true, OutlinedMask) else self.true.scheme)

    def _make_grid_of_layers(self) -> Grid:
        """A grid for two layers of footprints."""
        truth, options = self.inputs.request.truth, self.inputs.request.options
        if options.area is None:
            log.info(f"Compared within the box around {truth}; `area` says where it is complete")
        extent = PolygonLayer.of_ground(options.area) if options.area else PolygonLayer(truth)
        return extent.own_grid(options.gsd_m or GSD_M)


def find_scheme(source: Source) -> ClassScheme:
    """The classes of a file."""
    return read_mask_classes(source.mask) if isinstance(source, OutlinedMask) else source.scheme
