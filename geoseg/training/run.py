"""A run settled before its first step, and its folder: checkpoints, log and settings, written whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.datasets.reading.sites import count_own_processors, sum_class_counts
from geoseg.datasets.schema import read_dataset
from geoseg.errors import InputError, shorten_error
from geoseg.io.access import check_folder
from geoseg.io.atomic import explain_write_errors, replace_file, replace_text
from geoseg.models.card import Card
from geoseg.models.network import add_derived_bands
from geoseg.models.store import CARD_FILE
from geoseg.training.data import TrainingData, choose_class_weights, make_first_card, open_training_data
from geoseg.training.losses import LossSum, parse_loss
from geoseg.training.networks import create_network, refuse_unknown_network
from geoseg.training.optimizer import MixedPrecision, choose_precision
from geoseg.training.options import MOST_WORKERS, OPTIONS_FILE, TrainOptions
from geoseg.training.patches.augmentation import RECIPES, AugmentationRecipe
from geoseg.training.patches.batches import Batch, BatchTransform, ExtraTargets, PatchDataset, read_batches
from geoseg.training.patches.sampling import GridPatches, RandomPatches, SamplingWeights, parse_class_factors
from geoseg.training.processes import ProcessGroup
from geoseg.training.runs import METRICS, read_metrics
from geoseg.training.validation import Validator

LAST = "last.pt"
BEST = "best.pt"
BAD_BATCH = "bad-batch.pt"
BOARD = "tensorboard"
UNFINISHED = ".unfinished"
NO_BOARD = "`tensorboard`: TensorBoard is not installed; pip install 'geoseg[train]', or leave it out"
COLUMNS = ("step", "loss", "learning_rate", "seconds", "validation_loss", "validation_iou")

# What may differ between a run and its continuation without changing any number of it.
FREE = {
    "workers", "device", "checkpoint_every", "tensorboard", "name", "description", "licence", "half_weights",
}  # fmt: skip
MENDING = {"learning_rate", "clip", "precision"}


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    with replace_file(path) as unfinished, unfinished.open("wb") as file:
        torch.save(dict(state), file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways
        raise InputError(f"{path}: damaged; delete it to start over ({shorten_error(error)})") from error
    return state


def refuse_other_run(path: Path, written: Mapping[str, Any], settings: TrainOptions) -> None:
    """Refuse to go on with a run under other settings; one that was not there yet had its default.

    After a stop for a loss that was no number, what can mend that may differ.
    """
    now = vars(settings)
    free = FREE | MENDING if path.with_name(BAD_BATCH).exists() else FREE
    for name, value in {**vars(TrainOptions()), **written}.items():
        if name not in free and now.get(name) != value:
            raise InputError(
                f"{path}: belongs to a run with {name} {value}, not {now.get(name)}; choose another `out`, or start "
                "over with `overwrite`"
            )


def refuse_other_data(path: Path, written: str, now: str) -> None:
    if written != now:
        raise InputError(
            f"{path}: belongs to a run on other data; choose another `out`, or start over with `overwrite`"
        )


class MetricsLog:
    """The numbers of a run as CSV, one line a step, and for TensorBoard where that is wanted."""

    def __init__(self, folder: Path, first_step: int, for_tensorboard: bool) -> None:
        self.path = folder / METRICS
        rows = [row for row in read_metrics(self.path) if int(row["step"]) < first_step]
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        replace_text(self.path, table.getvalue())
        self.file = self.path.open("a", newline="", encoding="utf-8")
        self.writer = csv.DictWriter(self.file, COLUMNS)
        self.board = open_tensorboard(folder / BOARD, first_step) if for_tensorboard else None

    def write(self, row: Mapping[str, float]) -> None:
        with explain_write_errors(self.path):
            self.writer.writerow(row)
            self.file.flush()
        for name, value in row.items():
            if self.board is not None and name != "step":
                self.board.add_scalar(name, value, row["step"])

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what could not be written has been told
            self.file.close()
        if self.board is not None:
            self.board.close()


class NullMetricsLog:
    """What processes write that do not lead: nothing."""

    def write(self, row: Mapping[str, float]) -> None:
        """Take no note."""

    def __enter__(self) -> NullMetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""


def open_tensorboard(folder: Path, first_step: int) -> Any:
    """TensorBoard's files; what was written of steps that are now taken again is hidden."""
    return import_summary_writer()(str(folder), purge_step=first_step)


def import_summary_writer() -> Any:
    """What writes TensorBoard's files, if it is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(NO_BOARD) from error
    return SummaryWriter


def check_run_folder(out: Path, settings: TrainOptions, overwrite: bool) -> None:
    """Refuse early a folder in which the run could not begin or end."""
    check_folder(out)
    if settings.start_from and Path(settings.start_from).resolve() == out.resolve():
        raise InputError(
            f"`start_from` {settings.start_from}: is the folder of the run itself; choose another `out`, so that both stay"
        )
    if holds_finished_model(out) and not overwrite:
        raise InputError(
            f"`out` {out}: holds a finished model; choose another folder, or replace it with `overwrite`"
        )


def holds_finished_model(folder: Path) -> bool:
    """Whether all of a model lies in a folder, rather than what a killed run had written of one."""
    return (folder / CARD_FILE).exists() and not (folder / UNFINISHED).exists()


@contextmanager
def mark_unfinished(out: Path) -> Iterator[None]:
    """Let a run that is killed while it writes its model go on: the card alone would pass for a finished one."""
    with explain_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / UNFINISHED).touch()
    yield
    (out / UNFINISHED).unlink()


def clear_run_folder(out: Path) -> None:
    """Make a run start over: of an earlier one, only what the new one will replace stays for now."""
    for name in (CARD_FILE, LAST, BEST, METRICS, BAD_BATCH, UNFINISHED):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / BOARD, ignore_errors=True)


def write_options(out: Path, settings: TrainOptions) -> None:
    """Write the settings as they are used."""
    replace_text(out / OPTIONS_FILE, settings.to_toml())


@dataclass(frozen=True)
class TrainingRun:
    """Everything that decides a training run."""

    settings: TrainOptions
    ground: TrainingData
    card: Card
    criterion: LossSum
    class_weights: Tensor | None
    device: torch.device
    group: ProcessGroup

    @property
    def mixed_precision(self) -> MixedPrecision:
        return choose_precision(self.settings.precision, self.device)

    @property
    def recipe(self) -> AugmentationRecipe:
        return RECIPES[self.settings.augment]

    @property
    def fingerprint(self) -> str:
        """What the run learns from and is judged by, told from any other: what goes on after a stop must be the same."""
        dataset, digest = self.ground.dataset, hashlib.blake2b(digest_size=16)
        digest.update(repr((dataset.bands, dataset.classes, dataset.ignore, self.card.scaling)).encode())
        for site in (*self.ground.training, *self.ground.validation):
            digest.update(
                repr((site.item.split, site.place, site.image.shape)).encode() + site.counts.tobytes()
            )
        return digest.hexdigest()

    def transform(self, recipe: AugmentationRecipe) -> BatchTransform:
        return BatchTransform(self.card.scaling, recipe, self.settings.seed)

    @property
    def wanted(self) -> ExtraTargets:
        """What the losses need beside the class of each pixel."""
        return ExtraTargets(self.criterion.needs_weights, bool(self.card.separators))

    @property
    def worker_count(self) -> int:
        """How many processes read patches."""
        if self.settings.workers is not None:
            return self.settings.workers
        return min(MOST_WORKERS, count_own_processors())

    def patches(self) -> RandomPatches:
        """The patches to learn from."""
        names = [each.name for each in self.card.classes]
        factors = parse_class_factors(self.settings.oversample, names, sum_class_counts(self.ground.training))
        balance = SamplingWeights(factors, self.settings.empty, self.settings.place_balance)
        return RandomPatches(
            self.ground.training, self.settings.patch, balance, self.settings.seed, self.recipe
        )

    def batches(self, first_step: int) -> Iterator[Batch]:
        """The batch of each step, or what of it falls to this process."""
        settings = self.settings
        numbers = [
            self.group.share(range(step * settings.batch, (step + 1) * settings.batch))
            for step in range(first_step, settings.steps)
        ]
        return read_batches(self.patch_dataset(self.patches()), numbers, self.worker_count, self.device)

    @cached_property
    def validation_patches(self) -> GridPatches:
        """All patches to validate on."""
        return GridPatches(self.ground.validation, self.settings.patch)

    def validation_batches(self, most: int | None = None) -> Iterator[Batch]:
        """Patches to validate on, all or some evenly spread, or what of them falls to this process."""
        return self.read_validation(self.choose_validation(most), self.worker_count)

    def choose_validation(self, most: int | None = None) -> Sequence[int]:
        """The numbers of these patches."""
        patches = self.validation_patches
        chosen = range(len(patches)) if most is None else patches.choose_evenly(most)
        return chosen[self.group.rank :: self.group.size]

    def read_validation(self, chosen: Sequence[int], workers: int = 0) -> Iterator[Batch]:
        """Validation patches of some numbers."""
        numbers = [chosen[i : i + self.settings.batch] for i in range(0, len(chosen), self.settings.batch)]
        return read_batches(self.patch_dataset(self.validation_patches), numbers, workers, self.device)

    def patch_dataset(self, patches: RandomPatches | GridPatches) -> PatchDataset:
        return PatchDataset(patches, self.card.scaling, self.ground.dataset.ignore, self.wanted)

    def make_validator(self) -> Validator:
        places = tuple(site.place for site in self.ground.validation)
        return Validator(
            self.transform(RECIPES["none"]), self.criterion, self.class_weights, places, self.card.class_channels,
            self.ground.dataset.ignore, self.device, self.group, self.mixed_precision,
        )  # fmt: skip

    def create_network(self) -> nn.Module:
        """The untrained network; the same in every process."""
        torch.manual_seed(self.settings.seed)
        return create_network(self.settings, self.card)

    def add_derived_bands(self, network: nn.Module) -> nn.Module:
        """The network as it takes a scene's own bands."""
        return add_derived_bands(network, self.card).to(self.device)


def open_run(
    path: Path, out: Path, settings: TrainOptions, device: torch.device, processes: ProcessGroup
) -> TrainingRun:
    """Settle a run, or say in one line why it cannot be."""
    if settings.batch % (processes.size * settings.accumulate):
        raise InputError(
            f"`batch` {settings.batch}: must be a multiple of {processes.size * settings.accumulate}: "
            f"{processes.size} processes, each cutting its share in {settings.accumulate}"
        )
    refuse_unknown_network(settings)
    ground = open_training_data(read_dataset(path), settings)
    card = make_first_card(ground, out, settings)
    return TrainingRun(
        settings,
        ground,
        card,
        parse_loss(settings.loss, card.class_channels == 1),
        choose_class_weights(settings, ground),
        device,
        processes,
    )


def dry_run_step(run: TrainingRun, network: nn.Module) -> None:
    """Draw a place, and show the network two patches of nothing."""
    run.patches().place(0)
    settings, side = run.settings, run.settings.patch
    inputs = torch.zeros(min(2, settings.batch // settings.accumulate), run.card.inputs, side, side)
    try:
        answer = deepcopy(network).train()(inputs)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"`patch` {side}, `batch` {settings.batch}: the network cannot be trained on such patches "
            f"({shorten_error(error)}); try a multiple of 32, and two patches or more at a time"
        ) from error
    if answer.shape[1:] != (len(run.card.outputs), side, side):
        raise InputError(
            f"`patch` {side}: the network answers with {tuple(answer.shape[2:])} pixels; try a multiple of 32"
        )
