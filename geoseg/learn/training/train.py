"""Training: one visible loop, from a data set to a model folder. It goes on exactly where it was stopped."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from geoseg.errors import GeosegError, InputError
from geoseg.learn.patches.batches import Batch, Kitchen, Ready
from geoseg.learn.settings import TABLE, Settings
from geoseg.learn.training import checkpoint
from geoseg.learn.training.checkpoint import BEST, BOARD, LAST, METRICS, Log, NoLog
from geoseg.learn.training.finish import Finished, finish
from geoseg.learn.training.losses import compared
from geoseg.learn.training.processes import Team, own_device, team, unshared
from geoseg.learn.training.rates import Average, Progress, optimizer_for, rate_at, reached
from geoseg.learn.training.run import Run, missing_classes, open_run
from geoseg.model.folder import CARD
from geoseg.narrator import QUIET, Narrator, Tick

BAD_BATCH = "bad-batch.pt"
RECENT_SHARE = 0.05
LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    dataset: Path, out: Path, settings: Settings, overwrite: bool = False, narrator: Narrator = QUIET
) -> Finished | None:
    """Train a model on a data set and write it as a folder. Only the leading one of several processes gets an answer."""
    device = own_device(settings.device)
    if not overwrite:
        refuse_finished(out)
    if settings.tensorboard:
        checkpoint.board_writer()
    with team(device) as all_of_us:
        speaker = narrator if all_of_us.leads else QUIET
        run = open_run(dataset, out, settings, device, all_of_us, speaker)
        tell(run, speaker)
        network = run.new_network(speaker)
        if all_of_us.leads:
            make_room(out, settings, overwrite)
        all_of_us.wait()
        trainer = Trainer.begin(run, network, out, speaker)
        trainer.loop()
        return finish(run, trainer.best_network(), trainer.record(), out, speaker)


def draw_samples(dataset: Path, path: Path, settings: Settings) -> None:
    """Write a picture of patches as a network would be shown them."""
    from geoseg.learn.training.shown import show_samples

    show_samples(open_run(dataset, Path("samples"), settings, torch.device("cpu"), Team()), path)


def refuse_finished(out: Path) -> None:
    if (out / CARD).exists():
        raise InputError(
            f"--out {out}: holds a finished model; choose another folder, or replace it with --overwrite"
        )


def make_room(out: Path, settings: Settings, overwrite: bool) -> None:
    """A folder for the run: new, emptied where that was asked for, or that of the same run, to go on with."""
    if overwrite:
        for name in (CARD, LAST, BEST, METRICS):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / BOARD, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / TABLE).write_text(settings.to_toml(), encoding="utf-8")


def tell(run: Run, narrator: Narrator) -> None:
    for complaint in missing_classes(run.ground):
        narrator.warn(complaint)
    for name, sites in (("Learning  ", run.ground.training), ("Validating", run.ground.validation)):
        places = sorted({site.place for site in sites})
        pixels = sum(site.known for site in sites)
        narrator.say(
            f"{name} {len(sites)} images of {', '.join(places)}: {pixels / 1e6:,.1f} labelled megapixels"
        )
    narrator.say(f"Loss       {run.criterion.text}, on {run.device}, {run.team.size} process(es)")


@dataclass
class Trainer:
    """A run under way."""

    run: Run
    out: Path
    narrator: Narrator
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
        bare = fresh.to(run.device).to(memory_format=torch.channels_last)
        network = run.team.joined(run.behind_card(bare), run.device)
        trainer = cls(
            run, out, narrator, bare, network,
            optimizer_for(network, settings),
            torch.amp.GradScaler(run.device.type, enabled=precision_of(run) == "fp16"),
            Average(bare, settings.ema) if settings.ema else None,
        )  # fmt: skip
        if (out / LAST).exists():
            trainer.resume(checkpoint.load(out / LAST))
        return trainer

    def loop(self) -> None:
        """Draw, answer, compare, step; validate and save now and then."""
        settings = self.run.settings
        kitchen, started = self.run.kitchen(self.run.recipe), time.monotonic() - self.seconds
        with self.open_log() as log, self.task() as tick:
            for batch in self.run.batches(self.step):
                if self.is_over():
                    break
                torch.manual_seed(settings.seed + self.step)  # for what is random inside networks
                rate = rate_at(self.step, self.reached, settings, self.progress.drops)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                self.network.train()
                loss = self.learn(batch, kitchen)
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

    def learn(self, batch: Batch, kitchen: Kitchen) -> float:
        """One step of the optimizer; returns the loss of the whole batch."""
        total = torch.zeros((), device=self.run.device)
        self.optimizer.zero_grad(set_to_none=True)
        count = self.run.settings.accumulate
        for i, piece in enumerate(batch.pieces(count)):
            with unshared(self.network, last=i == count - 1):
                loss = self.loss(kitchen(piece)) / count
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        total = self.run.team.summed(total) / self.run.team.size
        if not torch.isfinite(total):
            self.give_up(batch)
        self.scaler.unscale_(self.optimizer)
        if self.run.settings.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.run.settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.bare, self.step)
        return float(total)

    def loss(self, piece: Ready) -> Tensor:
        run = self.run
        lower = LOWER.get(precision_of(run))
        with torch.autocast(run.device.type, dtype=lower, enabled=lower is not None):
            logits = self.network(piece.inputs.contiguous(memory_format=torch.channels_last))
        weights, smoothing = run.class_weights, run.settings.label_smoothing
        return run.criterion(
            compared(logits, piece.labels, weights, smoothing, piece.weight, run.ground.dataset.ignore)
        )

    def give_up(self, batch: Batch) -> None:
        path = self.out / BAD_BATCH
        torch.save({name: tensor.cpu() for name, tensor in vars(batch).items()}, path)
        raise GeosegError(
            f"{path}: the loss of this batch, of step {self.step}, is no number; try a lower --learning-rate than "
            f"{self.run.settings.learning_rate:g}, --clip 1 or --precision fp32"
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
        network = self.run.bare_network()
        network.load_state_dict(self.average.state)
        return network.to(self.run.device)

    def best_network(self) -> nn.Module:
        self.run.team.wait()
        network = self.run.bare_network()
        network.load_state_dict(checkpoint.load(self.out / BEST))
        return network.to(self.run.device)

    def save(self) -> None:
        if not self.run.team.leads:
            return
        state = {
            "settings": asdict(self.run.settings),
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
        return {
            "command": shlex.join(["geoseg", *sys.argv[1:]]),
            "seed": self.run.settings.seed,
            "steps": self.step,
            "best_step": self.progress.best_step,
            "seconds": round(self.seconds, 1),
            "processes": self.run.team.size,
            "parameters": sum(p.numel() for p in self.bare.parameters()),
            "loss": self.run.criterion.text,
            "settings": asdict(self.run.settings),
        }


def precision_of(run: Run) -> Literal["fp32", "bf16", "fp16"]:
    """The arithmetic of a run: as asked, else bf16 where the device is quick at it."""
    if run.settings.precision != "auto":
        return run.settings.precision
    if run.device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    quick = run.device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if quick else "fp32"
