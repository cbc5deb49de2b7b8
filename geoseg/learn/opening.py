"""What to compare: from a model, masks, footprints and data sets on disk to pairs of a prediction and its truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import InputError
from geoseg.footprints.trace.mask import NODATA, Mask, open_mask, open_probability
from geoseg.learn.layers import Layer, is_vector, renumbered
from geoseg.learn.legend import Meaning, classes_in, land_classes, shared_classes
from geoseg.learn.placing import has_place, made_up_grid, on_grid, placed, shape_of
from geoseg.learn.sides import RasterSide, Side, Within
from geoseg.learn.tally import Pair
from geoseg.narrator import QUIET, Narrator
from geoseg.prepare.dataset import FILE, Dataset, Item, LandClass, Split, read_dataset
from geoseg.raster.grid import Grid

if TYPE_CHECKING:
    from geoseg.model.card import Card

WEIGHTS = (".onnx", ".safetensors", ".pth", ".pt")
GSD_M = 0.3


@dataclass(frozen=True)
class Question:
    """What to evaluate: a model, mask, probability or footprints; and the truth, a mask, footprints or a data set."""

    predicted: str
    truth: str
    image: str | None = None
    """The image that a model is to predict, where the truth is no data set."""
    probability: str | None = None
    """The probability that belongs to a predicted mask."""
    threshold: float | None = None
    area: str | None = None
    """Polygons within which the truth is complete."""
    split: Split = "validation"
    gsd_m: float | None = None
    """Pixel size to compare at where neither side is a raster, and that of rasters that do not say it."""
    min_area_m2: float | None = None
    device: str = "auto"


@dataclass(frozen=True)
class Comparison:
    """Everything there is to compare, and the classes it is in."""

    classes: tuple[LandClass, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Opener:
    """Opens the sides of one question. What has to be made for it lies in a scratch folder."""

    question: Question
    scratch: Path
    narrator: Narrator = field(default=QUIET)

    def comparison(self) -> Comparison:
        truth = Path(self.question.truth)
        if truth.suffix == ".toml" or (truth.is_dir() and (truth / FILE).exists()):
            return self._with_dataset(read_dataset(truth))
        return self._with_one_truth()

    def _with_dataset(self, dataset: Dataset) -> Comparison:
        if not is_model(self.question.predicted):
            raise InputError(
                f"{self.question.predicted}: is no model; against a data set give a model, which then sees its images"
            )
        items = dataset.split(self.question.split)
        if not items:
            raise InputError(f"{self.question.truth}: has no item in the split {self.question.split}")
        classes, meanings = shared_classes(land_classes(self.card), dataset.classes, self.question.predicted)
        return Comparison(classes, tuple(self._pairs_of(dataset, items, meanings)))

    def _pairs_of(
        self, dataset: Dataset, items: Sequence[Item], meanings: tuple[Meaning, Meaning]
    ) -> Iterator[Pair]:
        for item in items:
            image = self._placed_image(dataset, item)
            predicted = self._predict(image, bands_of(self.card, dataset))
            truth = self._truth_of(dataset, item, image, predicted.grid, meanings[1])
            yield Pair(
                name=item.image,
                place=item.place,
                grid=truth.grid,
                predicted=RasterSide(self._on(predicted, truth.grid), meanings[0]),
                truth=truth.side,
                image=str(image),
                min_area_m2=self._min_area_m2,
            )

    def _placed_image(self, dataset: Dataset, item: Item) -> Path:
        image = dataset.image_path(item)
        refuse_missing(image)
        if has_place(image):
            return image
        return placed(image, made_up_grid(shape_of(image), item.gsd_m or dataset.gsd_m), self.scratch)

    def _truth_of(self, dataset: Dataset, item: Item, image: Path, grid: Grid, meaning: Meaning) -> OnGrid:
        label = dataset.label_path(item)
        refuse_missing(label)
        if is_vector(str(label)):
            numbers = {entry.name: number for number, entry in enumerate(dataset.classes)}
            labelled = str(dataset.folder / item.labelled) if item.labelled else None
            layer = Layer(str(label), item.class_field, numbers)
            return OnGrid(renumbered(layer.side(grid, labelled, self.narrator), meaning), grid)
        place = open_mask(str(label)).grid if has_place(label) else grid_of(image)
        forgetful = meaning.copy()
        forgetful[dataset.ignore] = NODATA
        lying = placed(label, place, self.scratch, NODATA)
        return OnGrid(RasterSide(open_mask(str(lying)), forgetful), place)

    def _with_one_truth(self) -> Comparison:
        question = self.question
        predicted = None if is_vector(question.predicted) else self._predicted_mask()
        truth = None if is_vector(question.truth) else self._mask(question.truth)
        masks = [mask for mask in (truth, predicted) if mask]
        grid = masks[0].grid if masks else self._grid_of_layers()
        name = Path(question.truth).name
        pair = Pair(
            name=name,
            place=name,
            grid=grid,
            predicted=self._side(question.predicted, predicted, grid),
            truth=self._within_area(self._side(question.truth, truth, grid), grid),
            image=self.image,
            min_area_m2=self._min_area_m2,
        )
        classes = land_classes(self.card) if is_model(question.predicted) else classes_in(masks)
        return Comparison(classes, (pair,))

    def _grid_of_layers(self) -> Grid:
        """A grid for two layers of footprints."""
        question = self.question
        if question.area is None:
            self.narrator.say(
                f"Compared within the box around {question.truth}; --area says where it is complete"
            )
        return Layer(question.area or question.truth).own_grid(question.gsd_m or GSD_M)

    def _predicted_mask(self) -> Mask:
        question = self.question
        if not is_model(question.predicted):
            return self._mask(question.predicted, question.threshold, question.probability)
        if self.image is None:
            raise InputError(
                f"{question.predicted}: a model needs an image to predict; give --image scene.tif"
            )
        return self._predict(Path(self.image))

    def _side(self, source: str, mask: Mask | None, grid: Grid) -> Side:
        if mask is None:
            return Layer(source).side(grid, narrator=self.narrator)
        return RasterSide(self._on(mask, grid))

    def _within_area(self, side: Side, grid: Grid) -> Side:
        if self.question.area is None:
            return side
        return Within(side, Layer(self.question.area).polygons(grid, self.narrator), grid.width)

    @cached_property
    def card(self) -> Card:
        from geoseg.model.folder import find_model

        return find_model(self.question.predicted).card

    @property
    def _min_area_m2(self) -> float:
        if self.question.min_area_m2 is not None:
            return self.question.min_area_m2
        return self.card.min_area_m2 if is_model(self.question.predicted) else 0.0

    def _predict(self, image: Path, bands: str | None = None) -> Mask:
        """Run the model over an image, and open what it gives."""
        from geoseg.predict.job import Wishes, plan_job
        from geoseg.predict.journal import Journal
        from geoseg.predict.segment import predict_strips, write_mosaics

        question = self.question
        wishes = Wishes(
            model=question.predicted, bands=bands, threshold=question.threshold, device=question.device
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

    def _mask(self, path: str, threshold: float | None = None, probability: str | None = None) -> Mask:
        refuse_missing(Path(path))
        if has_place(Path(path)):
            return open_mask(path, threshold=threshold, probability=probability)
        grid = self._made_up_grid(Path(path))
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
        return str(path if has_place(path) else placed(path, self._made_up_grid(path), self.scratch))

    def _made_up_grid(self, path: Path) -> Grid:
        if self.question.gsd_m is None:
            raise InputError(
                f"{path}: does not say where it lies; say how large its pixels are, e.g. --gsd 0.3"
            )
        return made_up_grid(shape_of(path), self.question.gsd_m)

    def _on(self, mask: Mask, grid: Grid) -> Mask:
        """A mask and its probability on a grid."""
        path = on_grid(Path(mask.path), grid, self.scratch)
        if str(path) == mask.path:
            return mask
        moved = open_mask(str(path), band=mask.band.number, threshold=mask.threshold)
        if mask.probability is None:
            return moved
        probability = on_grid(Path(mask.probability.path), grid, self.scratch)
        return replace(moved, probability=open_probability(str(probability), moved))


@dataclass(frozen=True)
class OnGrid:
    """A side, and the grid that it is on."""

    side: Side
    grid: Grid


def is_model(name: str) -> bool:
    """Whether a name means a model rather than a file of results."""
    path = Path(name)
    if path.is_dir() or path.suffix in WEIGHTS:
        return True
    return not path.exists() and path.suffix == "" and ":" not in name


def refuse_missing(path: Path) -> None:
    if "://" not in str(path) and not str(path).startswith("/vsi") and not path.exists():
        raise InputError(f"{path}: no such file")


def grid_of(image: Path) -> Grid:
    from geoseg.raster.opening import open_scene

    return open_scene([str(image)]).native


def bands_of(card: Card, dataset: Dataset) -> str | None:
    """The numbers of the bands that a model wants, where the data set names them."""
    if not set(card.bands) <= set(dataset.bands):
        return None
    return ",".join(str(dataset.bands.index(band) + 1) for band in card.bands)
