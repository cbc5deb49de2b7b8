"""Training: one visible loop, from a data set to a model folder. It resumes exactly where it was stopped."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import GeosegError
from geoseg.io.access import check_writable, lock_folder
from geoseg.io.staging import sweep_staging_folders
from geoseg.progress import Advance, format_count, list_names, silence, track
from geoseg.training.data import find_foreign_resolution, find_missing_classes
from geoseg.training.losses import boundary_loss, distance_loss, find_unused_loss_options, make_loss_inputs
from geoseg.training.networks import SHAPE, find_unused_network_options
from geoseg.training.optimizer import (
    ValidationHistory,
    WeightAverage,
    compute_learning_rate,
    count_done_steps,
    create_optimizer,
    speed_up_layers,
)
from geoseg.training.options import TrainOptions
from geoseg.training.patches.batches import Batch, BatchTransform, PreparedBatch
from geoseg.training.processes import ProcessGroup, choose_device, delay_gradient_sync, join_process_group
from geoseg.training.run import (
    BAD_BATCH,
    BEST,
    LAST,
    MetricsLog,
    NullMetricsLog,
    TrainingRun,
    check_run_folder,
    clear_run_folder,
    dry_run_step,
    import_summary_writer,
    load_checkpoint,
    open_run,
    refuse_other_data,
    refuse_other_run,
    save_checkpoint,
    write_options,
)
from geoseg.training.trained_model import TrainedModel, finish_model

log = logging.getLogger(__name__)

RECENT_SHARE = 0.05


def train_model(
    dataset: Path, out: Path, settings: TrainOptions, overwrite: bool = False
) -> TrainedModel | None:
    """Train a model on a data set and write it as a folder. Only the leading one of several processes gets an answer."""
    device = choose_device(settings.device)
    check_run_folder(out, settings, overwrite)
    if settings.tensorboard:
        import_summary_writer()
    with join_process_group(device) as group, nullcontext() if group.is_main else silence():
        run = open_run(dataset, out, settings, device, group)
        report_run(run)
        network = run.create_network()
        dry_run_step(run, network)
        with lock_folder(out) if group.is_main else nullcontext():
            if group.is_main:
                sweep_staging_folders(out)
            if overwrite and group.is_main:
                clear_run_folder(out)
            group.wait()
            trainer = Trainer.begin(run, network, out)
            with explain_memory_errors(settings):
                trainer.loop()
                return finish_model(run, trainer.best_network(), trainer.record(), out)


def draw_training_patches(dataset: Path, path: Path, settings: TrainOptions) -> None:
    """Write a picture of patches as a network would be shown them."""
    from geoseg.training.pictures import draw_augmented_patches

    check_writable(path)
    draw_augmented_patches(
        open_run(dataset, Path("samples"), settings, torch.device("cpu"), ProcessGroup()), path
    )


@contextmanager
def explain_memory_errors(settings: TrainOptions) -> Iterator[None]:
    """Say what to do where a GPU's memory does not suffice."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise GeosegError(
            f"`batch` {settings.batch}: the GPU's memory does not suffice; give `accumulate` {2 * settings.accumulate}, "
            "or a smaller `batch` or `patch`"
        ) from error


def report_run(run: TrainingRun) -> None:
    complaints = (
        *find_missing_classes(run.ground),
        *find_unused_network_options(run.settings),
        *find_unused_loss_options(run.criterion, run.settings),
        *find_borrowed_licence(run),
        *find_foreign_resolution(run.card, run.settings),
    )
    for complaint in complaints:
        log.warning(complaint)
    for name, sites in (("Learning  ", run.ground.training), ("Validating", run.ground.validation)):
        places = sorted({site.place for site in sites})
        megapixels = sum(site.known for site in sites) / 1e6
        digits = 1 if megapixels >= 1 else 4
        log.info(
            f"{name} {format_count(len(sites), 'image')} of {list_names(places)}: {megapixels:,.{digits}f} labelled megapixels"
        )
    together = f", {run.group.size} processes" if run.group.size > 1 else ""
    log.info(f"Loss       {run.criterion.text}, on {run.device}{together}")


def find_borrowed_licence(run: TrainingRun) -> list[str]:
    """A complaint about a model that owes to another one as well as to its data."""
    if run.settings.licence or run.card.licence == run.ground.dataset.licence:
        return []
    both = f"{run.settings.start_from} and that of the data: {run.card.licence}"
    return [f"the licence of the new model is that of {both}; where you know better, say `licence`"]


@dataclass
class Trainer:
    """A run under way. `bare` is the network itself, `network` what is trained, `blank` one to fill with kept weights."""

    run: TrainingRun
    out: Path
    blank: nn.Module
    bare: nn.Module
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None
    progress: ValidationHistory = field(default_factory=ValidationHistory)
    step: int = 0
    seconds: float = 0.0
    recent: float = float("nan")

    @classmethod
    def begin(cls, run: TrainingRun, fresh: nn.Module, out: Path) -> Trainer:
        """Start anew, or from the last checkpoint."""
        settings = run.settings
        blank = deepcopy(fresh)
        bare = (
            speed_up_layers(fresh, run.mixed_precision).to(run.device).to(memory_format=torch.channels_last)
        )
        network = run.group.wrap_network(run.add_derived_bands(bare), run.device)
        trainer = cls(
            run, out, blank, bare, network,
            create_optimizer(network, settings),
            torch.amp.GradScaler(run.device.type, enabled=run.mixed_precision.precision == "fp16"),
            WeightAverage(bare, settings.ema) if settings.ema else None)  # fmt: skip
        if (out / LAST).exists():
            trainer.resume(load_checkpoint(out / LAST))
        if run.group.is_main:
            write_options(out, settings)
        return trainer

    def loop(self) -> None:
        """Draw, answer, compare, step; validate and save now and then."""
        settings = self.run.settings
        transform, started = self.run.transform(self.run.recipe), time.monotonic() - self.seconds
        with self.open_log() as log, self.task() as tick:
            for batch in self.run.batches(self.step):
                if self.is_over():
                    break
                torch.manual_seed(settings.seed + self.step)  # for what is random inside networks
                rate = compute_learning_rate(self.step, self.reached, settings, self.progress.drops)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                self.network.train()
                loss = self.learn(batch, transform)
                (self.seconds,) = self.run.group.broadcast([time.monotonic() - started], self.run.device)
                row = {
                    "step": self.step,
                    "loss": loss,
                    "learning_rate": rate,
                    "seconds": round(self.seconds, 3),
                }
                self.step += 1
                if self.is_due(settings.validate_every):
                    row.update(self.validate())
                log.write(row)
                if self.is_due(settings.checkpoint_every):
                    self.save()
                tick(1, self.format_status(loss), self.step * settings.steps / self.reached)

    @property
    def reached(self) -> float:
        return count_done_steps(self.step, self.seconds, self.run.settings)

    def is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.reached >= self.run.settings.steps

    def is_over(self) -> bool:
        patience = self.run.settings.early_stopping
        stalled = bool(patience) and self.progress.without >= patience
        return stalled or self.reached >= self.run.settings.steps

    def open_log(self) -> MetricsLog | NullMetricsLog:
        if not self.run.group.is_main:
            return NullMetricsLog()
        return MetricsLog(self.out, self.step, self.run.settings.tensorboard)

    def task(self) -> AbstractContextManager[Advance]:
        return track("Training", self.run.settings.steps, "steps", self.step)

    def format_status(self, loss: float) -> str:
        """How the run stands: its running loss, its last score, its time."""
        share = RECENT_SHARE if isfinite(self.recent) else 1.0
        self.recent = (1 - share) * (self.recent if share < 1 else 0.0) + share * loss
        parts = [f"loss {self.recent:.4f}"]
        if isfinite(self.progress.last):
            parts.append(f"IoU {self.progress.last:.4f}")
        if self.run.settings.minutes:
            parts.append(f"{self.seconds / 60:.1f} of {self.run.settings.minutes:g} minutes")
        return ", ".join(parts)

    def learn(self, batch: Batch, transform: BatchTransform) -> float:
        """One step of the optimizer; returns the loss of the whole batch."""
        total = torch.zeros((), device=self.run.device)
        self.optimizer.zero_grad(set_to_none=True)
        count = self.run.settings.accumulate
        for i, piece in enumerate(batch.pieces(count)):
            with delay_gradient_sync(self.network, last=i == count - 1):
                loss = self.loss(transform(piece)) / count
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        total = self.run.group.sum_over_processes(total) / self.run.group.size
        self.scaler.unscale_(self.optimizer)
        length = nn.utils.clip_grad_norm_(self.network.parameters(), self.run.settings.clip or inf)
        # In half precision a gradient may overflow now and then; the scaler leaves such a step out.
        is_sound = torch.isfinite(total) and (torch.isfinite(length) or self.scaler.is_enabled())
        if not is_sound:
            self.stop_at_bad_batch(batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.bare, self.step)
        return float(total)

    def loss(self, piece: PreparedBatch) -> Tensor:
        run, settings = self.run, self.run.settings
        logits = run.mixed_precision(self.network, piece.inputs)
        classes = logits[:, : run.card.class_channels]
        loss = run.criterion(
            make_loss_inputs(
                classes, piece.labels, run.class_weights, settings.label_smoothing, piece.weight,
                run.ground.dataset.ignore,
            )
        )  # fmt: skip
        if run.card.separators:
            boundary, distance = logits[:, run.card.class_channels :].unbind(1)
            loss = loss + settings.boundary_weight * boundary_loss(boundary, piece.boundary)
            loss = loss + settings.distance_weight * distance_loss(distance, piece.distance)
        return loss

    def stop_at_bad_batch(self, batch: Batch) -> None:
        path, settings = self.out / BAD_BATCH, self.run.settings
        save_checkpoint(path, {name: tensor.cpu() for name, tensor in vars(batch).items()})
        raise GeosegError(
            f"{path}: the loss of this batch, of step {self.step}, or its slope is no number; give the command again with "
            f"a lower `learning_rate` than {settings.learning_rate:g}, `clip` 1 or `precision` fp32: training goes on from "
            "the last checkpoint"
        )

    def validate(self) -> dict[str, float]:
        """Look at some validation patches; keep the weights if they are the best so far."""
        run = self.run
        network = run.add_derived_bands(self.candidate())
        found = run.make_validator()(network, run.validation_batches(run.settings.validation_patches))
        patience = run.settings.patience if run.settings.schedule == "plateau" else 0
        if self.progress.note(self.step, found.score, patience) and run.group.is_main:
            save_checkpoint(self.out / BEST, self.candidate_state())
        log.info(f"Step {self.step:,}: validation loss {found.loss:.4f}, IoU {found.score:.4f}")
        return {"validation_loss": found.loss, "validation_iou": found.score}

    def candidate_state(self) -> dict[str, Tensor]:
        """The weights that would be kept: their running mean where there is one."""
        return self.average.state if self.average is not None else self.bare.state_dict()

    def candidate(self) -> nn.Module:
        if self.average is None:
            return self.bare
        return self.with_weights(self.average.state)

    def best_network(self) -> nn.Module:
        self.run.group.wait()
        return self.with_weights(load_checkpoint(self.out / BEST))

    def with_weights(self, state: dict[str, Tensor]) -> nn.Module:
        """A network of its own with some weights."""
        network = deepcopy(self.blank)
        network.load_state_dict(state)
        return network.to(self.run.device).to(memory_format=torch.channels_last)

    def save(self) -> None:
        if not self.run.group.is_main:
            return
        state = {
            "settings": asdict(self.run.settings),
            "ground": self.run.fingerprint,
            "step": self.step,
            "seconds": self.seconds,
            "network": self.bare.state_dict(),
            "average": self.average.state if self.average else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
        }
        save_checkpoint(self.out / LAST, state)

    def resume(self, state: dict[str, Any]) -> None:
        refuse_other_run(self.out / LAST, state["settings"], self.run.settings)
        refuse_other_data(self.out / LAST, state["ground"], self.run.fingerprint)
        self.bare.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.state = {n: tensor.to(self.run.device) for n, tensor in state["average"].items()}
        self.progress = ValidationHistory(**state["progress"])
        self.step, self.seconds = state["step"], state["seconds"]
        log.info(f"Going on from step {self.step:,}")

    def record(self) -> dict[str, Any]:
        """How the model came to be, for its card."""
        unused = (*SHAPE, "weights") if self.run.settings.start_from else ()
        return {
            "command": shlex.join(["geoseg", *sys.argv[1:]]),
            "seed": self.run.settings.seed,
            "steps": self.step,
            "best_step": self.progress.best_step,
            "seconds": round(self.seconds, 1),
            "processes": self.run.group.size,
            "parameters": sum(p.numel() for p in self.bare.parameters()),
            "loss": self.run.criterion.text,
            "settings": {
                name: value for name, value in asdict(self.run.settings).items() if name not in unused
            },
        }
