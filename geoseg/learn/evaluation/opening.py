"""From a question to pairs of a prediction and its truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import InputError
from geoseg.footprints.trace.mask import Mask
from geoseg.learn.evaluation.layers import Layer, is_vector
from geoseg.learn.evaluation.legend import classes_in, land_classes
from geoseg.learn.evaluation.question import Comparison, Question
from geoseg.learn.evaluation.sides import RasterSide, Side
from geoseg.learn.evaluation.surveyed import AgainstDataset
from geoseg.learn.evaluation.tally import Pair
from geoseg.learn.evaluation.workbench import Workbench
from geoseg.narrator import QUIET, Narrator
from geoseg.prepare.dataset import FILE, read_dataset
from geoseg.raster.grid import Grid

GSD_M = 0.3


def open_comparison(question: Question, scratch: Path, narrator: Narrator = QUIET) -> Comparison:
    """Open both sides of a question; what has to be made for it lies in the scratch folder."""
    bench, truth = Workbench(question, scratch, narrator), Path(question.truth)
    if truth.suffix == ".toml" or (truth.is_dir() and (truth / FILE).exists()):
        return AgainstDataset(bench, read_dataset(truth)).comparison()
    return AgainstOne(bench).comparison()


@dataclass(frozen=True)
class AgainstOne:
    """A prediction against one mask, or one layer of footprints."""

    bench: Workbench

    def comparison(self) -> Comparison:
        question = self.bench.question
        predicted = None if is_vector(question.predicted) else self._predicted_mask()
        truth = None if is_vector(question.truth) else self.bench.mask(question.truth)
        masks = [mask for mask in (truth, predicted) if mask]
        grid = masks[0].grid if masks else self._grid_of_layers()
        name = Path(question.truth).name
        pair = Pair(
            name=name,
            place=name,
            grid=grid,
            predicted=self._side(question.predicted, predicted, grid),
            truth=self.bench.within_area(self._side(question.truth, truth, grid), grid),
            image=self.bench.image,
            min_area_m2=self.bench.min_area_m2,
        )
        classes = land_classes(self.bench.card) if question.asks_a_model else classes_in(masks)
        return Comparison(classes, (pair,))

    def _grid_of_layers(self) -> Grid:
        """A grid for two layers of footprints."""
        question = self.bench.question
        if question.area is None:
            self.bench.narrator.say(
                f"Compared within the box around {question.truth}; --area says where it is complete"
            )
        return Layer(question.area or question.truth).own_grid(question.gsd_m or GSD_M)

    def _predicted_mask(self) -> Mask:
        question = self.bench.question
        if not question.asks_a_model:
            return self.bench.mask(question.predicted, question.threshold, question.probability)
        if self.bench.image is None:
            raise InputError(
                f"{question.predicted}: a model needs an image to predict; give --image scene.tif"
            )
        return self.bench.predict(Path(self.bench.image))

    def _side(self, source: str, mask: Mask | None, grid: Grid) -> Side:
        if mask is None:
            return Layer(source).side(grid, narrator=self.bench.narrator)
        return RasterSide(self.bench.brought(mask, grid))
