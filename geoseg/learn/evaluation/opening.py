"""From questions to pairs of a prediction and its truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from geoseg.errors import InputError
from geoseg.footprints.trace.mask import Mask
from geoseg.learn.evaluation.idle import refuse_idle
from geoseg.learn.evaluation.layers import Layer, is_vector
from geoseg.learn.evaluation.legend import Words, agreed, words_of_mask, words_of_model
from geoseg.learn.evaluation.question import Comparison, Question
from geoseg.learn.evaluation.sides import VectorSide, Where
from geoseg.learn.evaluation.surveyed import AgainstDataset
from geoseg.learn.evaluation.tally import Pair
from geoseg.learn.evaluation.workbench import Workbench
from geoseg.narrator import QUIET, Narrator
from geoseg.prepare.dataset import read_dataset
from geoseg.raster.grid import Grid

GSD_M = 0.3


class Against(Protocol):
    """A prediction and its truth, opened."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The pixels that each pair would best be compared in."""

    def comparison(self, grids: Sequence[Grid]) -> Comparison:
        """The pairs on some grids."""


def open_comparisons(
    questions: Sequence[Question], scratch: Path, narrator: Narrator = QUIET
) -> tuple[Comparison, ...]:
    """Open several predictions of one truth on the same pixels; what has to be made for it lies in the scratch folder."""
    refuse_idle(questions)
    benches = [Workbench(question, scratch, narrator) for question in questions]
    for bench in benches:
        bench.find_prediction()
    opened = [against(bench) for bench in benches]
    finest = [
        min(grids, key=lambda grid: grid.gsd_m)
        for grids in zip(*(each.grids for each in opened), strict=True)
    ]
    return on_common_ground([each.comparison(finest) for each in opened])


def against(bench: Workbench) -> Against:
    truth = Path(bench.question.truth)
    return AgainstDataset(bench, read_dataset(truth)) if bench.question.against_dataset else AgainstOne(bench)


def on_common_ground(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The same comparisons, each only where the predictions of all others know something too."""
    together = [known_to_all(pairs) for pairs in zip(*(each.pairs for each in comparisons), strict=True)]
    return tuple(
        replace(each, pairs=pairs)
        for each, pairs in zip(comparisons, zip(*together, strict=True), strict=True)
    )


def known_to_all(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs of one scene. A prediction that consists of polygons knows all of it."""
    shared = []
    for pair in pairs:
        truth = pair.truth
        for other in pairs:
            if other is not pair and not isinstance(other.predicted, VectorSide):
                truth = Where(truth, other.predicted)
        shared.append(replace(pair, truth=truth))
    return shared


@dataclass(frozen=True)
class AgainstOne:
    """A prediction against one mask, or one layer of footprints."""

    bench: Workbench

    @cached_property
    def predicted(self) -> Mask | Layer:
        question = self.bench.question
        if is_vector(question.predicted):
            return Layer(question.predicted)
        if not question.asks_a_model:
            return self.bench.mask(question.predicted, question.threshold, question.probability)
        if self.bench.image is None:
            raise InputError(
                f"{question.predicted}: a model needs an image to predict; give --image scene.tif"
            )
        return self.bench.predict(Path(self.bench.image))

    @cached_property
    def true(self) -> Mask | Layer:
        source = self.bench.question.truth
        return Layer(source) if is_vector(source) else self.bench.mask(source)

    @property
    def grids(self) -> tuple[Grid, ...]:
        masks = [side for side in (self.true, self.predicted) if isinstance(side, Mask)]
        return (masks[0].grid if masks else self._grid_of_layers(),)

    def comparison(self, grids: Sequence[Grid]) -> Comparison:
        (grid,), bench = grids, self.bench
        name = Path(bench.question.truth).name
        legend = agreed(*self._words(), bench.narrator)
        pair = Pair(
            name=name,
            place=name,
            grid=grid,
            predicted=bench.side(self.predicted, grid, legend.predicted),
            truth=bench.within_area(bench.side(self.true, grid, legend.true), grid),
            image=bench.image,
            min_area_m2=bench.min_area_m2,
        )
        return Comparison(legend.classes, (pair,))

    def _words(self) -> tuple[Words, Words]:
        """The classes of both sides; a mask beside a model has the model's."""
        question, sides = self.bench.question, (self.predicted, self.true)
        if not question.asks_a_model:
            predicted, true = (words_of_mask(s) if isinstance(s, Mask) else s.words for s in sides)
            return predicted, true
        known = words_of_model(question.predicted, self.bench.card)
        own = Words(question.truth, known.classes, named=False)
        return known, own if isinstance(self.true, Mask) else self.true.words

    def _grid_of_layers(self) -> Grid:
        """A grid for two layers of footprints."""
        question = self.bench.question
        if question.area is None:
            self.bench.narrator.say(
                f"Compared within the box around {question.truth}; --area says where it is complete"
            )
        return Layer(question.area or question.truth).own_grid(question.gsd_m or GSD_M)
