"""Options that say nothing where they stand: refused, so that nobody believes that they were heeded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from geoseg.errors import InputError
from geoseg.learn.evaluation.layers import is_vector
from geoseg.learn.evaluation.placing import has_place
from geoseg.learn.evaluation.question import Question
from geoseg.learn.evaluation.workbench import refuse_missing


def refuse_idle(questions: Sequence[Question]) -> None:
    """Refuse what was asked for and means nothing for any of the predictions."""
    wanted, elsewhere = questions[0], [dict(idle(each)) for each in questions[1:]]
    for option, why in idle(wanted):
        value = given(wanted)[option]
        if value is not None and all(option in others for others in elsewhere):
            raise InputError(f"{option} {value}: {why}")


def given(question: Question) -> dict[str, str | float | None]:
    """What options were set to."""
    return {
        "--image": question.image,
        "--probability": question.probability,
        "--threshold": question.threshold,
        "--split": question.split,
        "--place": ", ".join(question.places) or None,
        "--gsd": question.gsd_m,
        "--device": question.device,
    }


def idle(question: Question) -> Iterator[tuple[str, str]]:
    """Options that mean nothing for a question, each with the reason."""
    if question.against_dataset:
        yield "--image", f"{question.truth} is a data set and has its own images"
        yield "--gsd", f"{question.truth} is a data set and says how large its pixels are"
        yield "--probability", f"belongs to one mask, and {question.truth} is a data set"
    else:
        yield "--split", f"{question.truth} is no data set"
        yield "--place", f"{question.truth} is no data set"
        if question.gsd_m is not None and not needs_gsd(question):
            yield "--gsd", "the rasters say where they lie, and so how large their pixels are"
    if not question.asks_a_model:
        yield "--device", f"only a model runs on a device, and {question.predicted} is none"
    elif question.probability is not None:
        yield "--probability", f"{question.predicted} is a model and gives its own"
    if question.probability is None:
        yield "--probability", "belongs to the other prediction"
    if is_vector(question.predicted):
        yield "--probability", f"belongs to a mask, and {question.predicted} is none"
        yield "--threshold", f"footprints have no probability, and {question.predicted} holds footprints"


def needs_gsd(question: Question) -> bool:
    """Whether something lies nowhere, or nothing has pixels."""
    sides = [question.truth] if question.asks_a_model else [question.predicted, question.truth]
    files = [file for file in (*sides, question.image, question.probability) if file]
    rasters = [Path(file) for file in files if not is_vector(file)]
    for raster in rasters:
        refuse_missing(raster)
    return not rasters or not all(map(has_place, rasters))
