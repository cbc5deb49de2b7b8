"""Training: one visible loop, from a data set to a model folder. It goes on exactly where it was stopped."""

from __future__ import annotations

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
from geoseg.learn.patches.batches import Batch, BatchTransform, Ready
from geoseg.learn.settings import Settings
from geoseg.learn.training import checkpoint
from geoseg.learn.training.arithmetic import quicken
from geoseg.learn.training.checkpoint import BAD_BATCH, BEST, LAST, Log, NoLog
from geoseg.learn.training.finish import Finished, finish
from geoseg.learn.training.loss_sums import unused
from geoseg.learn.training.losses import boundary_loss, compared, distance_loss
from geoseg.learn.training.networks import SHAPE, unused_shape
from geoseg.learn.training.processes import Team, own_device, team, unshared
from geoseg.learn.training.rates import Average, Progress, optimizer_for, rate_at, reached
from geoseg.learn.training.rehearsal import rehearse
from geoseg.learn.training.run import Run, missing_classes, open_run
from geoseg.learn.training.run_folder import check_out, clear, keep_settings
from geoseg.narrator import QUIET, Narrator, Tick, listed
from geoseg.writable import check_writable, held

RECENT_SHARE = 0.05


def train(
    dataset: Path, out: Path, settings: Settings, overwrite: bool = False, narrator: Narrator = QUIET
) -> Finished | None:
    """Train a model on a data set and write it as a folder. Only the leading one of several processes gets an answer."""
    device = own_device(settings.device)
    check_out(out, settings, overwrite)
    if settings.tensorboard:
        checkpoint.board_writer()
    with team(device) as all_of_us:
        speaker = narrator if all_of_us.leads else QUIET
        run = open_run(dataset, out, settings, device, all_of_us, speaker)
        tell(run, speaker)
        network = run.new_network(speaker)
        rehearse(run, network)
        with held(out) if all_of_us.leads else nullcontext():
            if overwrite and all_of_us.leads:
                clear(out)
            all_of_us.wait()
            trainer = Trainer.begin(run, network, out, speaker)
            with enough_memory(settings):
                trainer.loop()
                return finish(run, trainer.best_network(), trainer.record(), out, speaker)


def draw_samples(dataset: Path, path: Path, settings: Settings, narrator: Narrator = QUIET) -> None:
    """Write a picture of patches as a network would be shown them."""
    from geoseg.learn.training.shown import show_samples

    check_writable(path)
    show_samples(open_run(dataset, Path("samples"), settings, torch.device("cpu"), Team(), narrator), path)


@contextmanager
def enough_memory(settings: Settings) -> Iterator[None]:
    """Say what to do where a GPU's memory does not suffice."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise GeosegError(
            f"--batch {settings.batch}: the GPU's memory does not suffice; give --accumulate {2 * settings.accumulate}, "
            "or a smaller --batch or --patch"
        ) from error


def tell(run: Run, narrator: Narrator) -> None:
    complaints = (
        *missing_classes(run.ground),
        *unused_shape(run.settings),
        *unused(run.criterion, run.settings),
        *borrowed_licence(run),
    )
    for complaint in complaints:
        narrator.warn(complaint)
    for name, sites in (("Learning  ", run.ground.training), ("Validating", run.ground.validation)):
        places = sorted({site.place for site in sites})
        megapixels = sum(site.known for site in sites) / 1e6
        digits = 1 if megapixels >= 1 else 4
        narrator.say(
            f"{name} {len(sites):,} images of {listed(places)}: {megapixels:,.{digits}f} labelled megapixels"
        )
    narrator.say(f"Loss       {run.criterion.text}, on {run.device}, {run.team.size} process(es)")


def borrowed_licence(run: Run) -> list[str]:
    """A complaint about a model that owes to another one as well as to its data."""
    if run.settings.licence or run.card.licence == run.ground.dataset.licence:
        return []
    both = f"{run.settings.start_from} and that of the data: {run.card.licence}"
    return [f"the licence of the new model is that of {both}; where you know better, say --licence"]


@dataclass
class Trainer:
    """A run under way. `bare` is the network itself, `network` what is trained, `blank` one to fill with kept weights."""

    run: Run
    out: Path
    narrator: Narrator
    blank: nn.Module
    bare: nn.Module
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average | None
    progress: Progress = field(default_factory=Progress)
    step: int = 0
    seconds: float = 0.0
    recent: float = float("nan")

    @classmethod
    def begin(cls, run: Run, fresh: nn.Module, out: Path, narrator: Narrator) -> Trainer:
        """Start anew, or from the last checkpoint."""
        settings = run.settings
        blank = deepcopy(fresh)
        bare = quicken(fresh, run.arithmetic).to(run.device).to(memory_format=torch.channels_last)
        network = run.team.joined(run.behind_card(bare), run.device)
        trainer = cls(
            run, out, narrator, blank, bare, network,
            optimizer_for(network, settings),
            torch.amp.GradScaler(run.device.type, enabled=run.arithmetic.precision == "fp16"),
            Average(bare, settings.ema) if settings.ema else None,
        )  # fmt: skip
        if (out / LAST).exists():
            trainer.resume(checkpoint.load(out / LAST))
        if run.team.leads:
            keep_settings(out, settings)
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
                rate = rate_at(self.step, self.reached, settings, self.progress.drops)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                self.network.train()
                loss = self.learn(batch, transform)
                (self.seconds,) = self.run.team.told([time.monotonic() - started], self.run.device)
                row = {
                    "step": self.step,
                    "loss": loss,
                    "learning_rate": rate,
                    "seconds": round(self.seconds, 3),
                }
                self.step += 1
                if self.is_time(settings.validate_every):
                    row.update(self.validate())
                log.write(row)
                if self.is_time(settings.checkpoint_every):
                    self.save()
                tick(1, self.standing(loss), self.step * settings.steps / self.reached)

    @property
    def reached(self) -> float:
        return reached(self.step, self.seconds, self.run.settings)

    def is_time(self, every: int) -> bool:
        return self.step % every == 0 or self.reached >= self.run.settings.steps

    def is_over(self) -> bool:
        patience = self.run.settings.early_stopping
        stalled = bool(patience) and self.progress.without >= patience
        return stalled or self.reached >= self.run.settings.steps

    def open_log(self) -> Log | NoLog:
        if not self.run.team.leads:
            return NoLog()
        return Log(self.out, self.step, self.run.settings.tensorboard)

    def task(self) -> AbstractContextManager[Tick]:
        return self.narrator.task("Training", self.run.settings.steps, "steps", self.step)

    def standing(self, loss: float) -> str:
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
            with unshared(self.network, last=i == count - 1):
                loss = self.loss(transform(piece)) / count
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        total = self.run.team.summed(total) / self.run.team.size
        self.scaler.unscale_(self.optimizer)
        length = nn.utils.clip_grad_norm_(self.network.parameters(), self.run.settings.clip or inf)
        # In half precision a gradient may overflow now and then; the scaler leaves such a step out.
        is_sound = torch.isfinite(total) and (torch.isfinite(length) or self.scaler.is_enabled())
        if not is_sound:
            self.give_up(batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.bare, self.step)
        return float(total)

    def loss(self, piece: Ready) -> Tensor:
        run, settings = self.run, self.run.settings
        logits = run.arithmetic(self.network, piece.inputs)
        classes = logits[:, : run.card.class_channels]
        loss = run.criterion(
            compared(
                classes, piece.labels, run.class_weights, settings.label_smoothing, piece.weight,
                run.ground.dataset.ignore,
            )
        )  # fmt: skip
        if run.card.separators:
            boundary, distance = logits[:, run.card.class_channels :].unbind(1)
            loss = loss + settings.boundary_weight * boundary_loss(boundary, piece.boundary)
            loss = loss + settings.distance_weight * distance_loss(distance, piece.distance)
        return loss

    def give_up(self, batch: Batch) -> None:
        path, settings = self.out / BAD_BATCH, self.run.settings
        checkpoint.save(path, {name: tensor.cpu() for name, tensor in vars(batch).items()})
        raise GeosegError(
            f"{path}: the loss of this batch, of step {self.step}, or its slope is no number; give the command again with "
            f"a lower --learning-rate than {settings.learning_rate:g}, --clip 1 or --precision fp32: training goes on from "
            "the last checkpoint"
        )

    def validate(self) -> dict[str, float]:
        """Look at some validation patches; keep the weights if they are the best so far."""
        run = self.run
        network = run.behind_card(self.candidate())
        found = run.examiner()(network, run.validation_batches(run.settings.validation_patches))
        patience = run.settings.patience if run.settings.schedule == "plateau" else 0
        if self.progress.note(self.step, found.score, patience) and run.team.leads:
            checkpoint.save(self.out / BEST, self.candidate_state())
        self.narrator.say(f"Step {self.step:,}: validation loss {found.loss:.4f}, IoU {found.score:.4f}")
        return {"validation_loss": found.loss, "validation_iou": found.score}

    def candidate_state(self) -> dict[str, Tensor]:
        """The weights that would be kept: their running mean where there is one."""
        return self.average.state if self.average is not None else self.bare.state_dict()

    def candidate(self) -> nn.Module:
        if self.average is None:
            return self.bare
        return self.with_weights(self.average.state)

    def best_network(self) -> nn.Module:
        self.run.team.wait()
        return self.with_weights(checkpoint.load(self.out / BEST))

    def with_weights(self, state: dict[str, Tensor]) -> nn.Module:
        """A network of its own with some weights."""
        network = deepcopy(self.blank)
        network.load_state_dict(state)
        return network.to(self.run.device)

    def save(self) -> None:
        if not self.run.team.leads:
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
        checkpoint.save(self.out / LAST, state)

    def resume(self, state: dict[str, Any]) -> None:
        checkpoint.refuse_other_run(self.out / LAST, state["settings"], self.run.settings)
        checkpoint.refuse_other_ground(self.out / LAST, state["ground"], self.run.fingerprint)
        self.bare.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.state = {n: tensor.to(self.run.device) for n, tensor in state["average"].items()}
        self.progress = Progress(**state["progress"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.narrator.say(f"Going on from step {self.step:,}")

    def record(self) -> dict[str, Any]:
        """How the model came to be, for its card."""
        unused = (*SHAPE, "weights") if self.run.settings.start_from else ()
        return {
            "command": shlex.join(["geoseg", *sys.argv[1:]]),
            "seed": self.run.settings.seed,
            "steps": self.step,
            "best_step": self.progress.best_step,
            "seconds": round(self.seconds, 1),
            "processes": self.run.team.size,
            "parameters": sum(p.numel() for p in self.bare.parameters()),
            "loss": self.run.criterion.text,
            "settings": {
                name: value for name, value in asdict(self.run.settings).items() if name not in unused
            },
        }
