"""What a network answers to all validation patches, read once and kept on disk for as long as it is tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.io.atomic import explain_write_errors
from geoseg.progress import track
from geoseg.scores.calibration import TemperatureScaling
from geoseg.training.run import TrainingRun
from geoseg.training.validation import ValidationResult, Validator

MOST_IN_HALF = 65504.0
"""The largest number that 16 bits hold; a logit of so much is certainty."""
UNSCALED = TemperatureScaling()


@dataclass(frozen=True)
class AnsweredBatch:
    """Numbers and sites of some patches, logits (patch, class, row, col) and labels (patch, row, col)."""

    numbers: Tensor
    sites: Tensor
    logits: Tensor
    labels: Tensor

    def save(self, path: Path, in_half: bool) -> None:
        logits = self.logits.clamp(-MOST_IN_HALF, MOST_IN_HALF).half() if in_half else self.logits
        kept = {name: tensor.cpu() for name, tensor in vars(replace(self, logits=logits)).items()}
        with explain_write_errors(path), path.open("wb") as file:  # torch's own files fail without a reason
            torch.save(kept, file)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> AnsweredBatch:
        kept = cls(**torch.load(path, map_location=device, weights_only=True))
        return replace(kept, logits=kept.logits.float())

    def select(self, number: int) -> AnsweredBatch:
        """The patch of a number alone."""
        chosen = self.numbers == number
        return AnsweredBatch(**{name: tensor[chosen] for name, tensor in vars(self).items()})

    def scale(self, scaling: TemperatureScaling) -> AnsweredBatch:
        """As the network answers once a calibration is in its weights."""
        return replace(self, logits=self.logits / scaling.temperature + scaling.offset)


@dataclass(frozen=True)
class KeptAnswers:
    """The answers of one network to all validation patches (of several processes: this one's), a file a batch.

    `files` has the file of each patch, by its number.
    """

    files: Mapping[int, Path]
    validator: Validator
    scaling: TemperatureScaling = UNSCALED

    def __iter__(self) -> Iterator[AnsweredBatch]:
        return map(self.load, dict.fromkeys(self.files.values()))

    def load(self, path: Path) -> AnsweredBatch:
        return AnsweredBatch.load(path, self.validator.device).scale(self.scaling)

    def find(self, number: int) -> AnsweredBatch:
        """The answer to the patch of a number."""
        return self.load(self.files[number]).select(number)

    @torch.inference_mode()
    def count(self) -> ValidationResult:
        """What the validator counts over them, without a loss."""
        counter = self.validator.make_counter()
        for answer in self:
            places = self.validator.number_places(answer.sites)
            counter.add(answer.logits, answer.labels, places, self.validator.ignore)
        return counter.result(self.validator.place_names, self.validator.group)


def keep_answers(run: TrainingRun, network: nn.Module, folder: Path) -> KeptAnswers:
    """Show a network all validation patches, and keep its answers: in 16 bits where it computes in 16 bits."""
    validator = run.make_validator()
    files: dict[int, Path] = {}
    in_half = run.mixed_precision.precision != "fp32"
    with track("Tuning", len(run.choose_validation()), "patches") as advance:
        for batch in run.validation_batches():
            prepared = validator.transform(batch)
            logits = validator.predict(network, prepared)
            path = folder / f"{len(files)}.pt"
            AnsweredBatch(batch.numbers, batch.sites, logits, prepared.labels).save(path, in_half)
            files |= dict.fromkeys(batch.numbers.tolist(), path)
            advance(len(batch))
    return KeptAnswers(files, validator)
