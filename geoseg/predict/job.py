"""Everything that decides a prediction, settled before the first pixel is read: a plain value."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import InputError
from geoseg.model.folder import DEFAULT, Model, find_model
from geoseg.model.normalisation import Normalisation, scene_normalisation
from geoseg.model.precision import EngineRequest, PrecisionRequest, choose
from geoseg.model.runtime import (
    RawPatches,
    Runtime,
    RuntimeKind,
    device_name,
    find_devices,
    open_runtime,
    unused_gpu,
)
from geoseg.narrator import QUIET, Narrator
from geoseg.predict.augment import Augmentation, AugmentedRuntime
from geoseg.predict.predictor import Decision
from geoseg.predict.resolution import at_model_resolution
from geoseg.raster.bands import matching_bands, requested_bands
from geoseg.raster.opening import open_scene
from geoseg.raster.plan import Plan
from geoseg.raster.scene import OnReadError, Scene


@dataclass(frozen=True)
class Wishes:
    """What a user may ask for; what is left out is decided from the scene, the model and the machine."""

    model: str = DEFAULT
    bands: str | None = None
    assume_crs: str | None = None
    on_read_error: OnReadError = "stop"
    gsd: str = "auto"
    patch: int | None = None
    overlap: int | None = None
    threshold: float | None = None
    batch: int | None = None
    device: str = "auto"
    engine: EngineRequest = "auto"
    precision: PrecisionRequest = "auto"
    tta: Augmentation = "none"


@dataclass(frozen=True)
class Job:
    """A scene, a model, and how the one is run over the other."""

    scene: Scene
    model: Model
    plan: Plan
    normalisation: Normalisation
    threshold: float
    tta: Augmentation
    kinds: tuple[RuntimeKind, ...]
    batch: int | None

    @property
    def decision(self) -> Decision:
        return Decision(self.model.card.class_channels, self.threshold)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the answer depends on, for the tags of the outputs."""
        return {
            "geoseg": __version__,
            "model": self.model.card.name,
            "model_sha256": self.model.fingerprint,
            "bands": list(self.scene.bands),
            "gsd_m": round(self.scene.grid.gsd_m, 6),
            "patch": self.plan.patch,
            "overlap": self.plan.overlap,
            "threshold": self.threshold,
            "tta": self.tta,
            "engine": self.kinds[0].engine,
            "precision": self.kinds[0].precision,
            "device": self.kinds[0].device.split(":")[0],
            "gain": list(self.normalisation.gain),
            "offset": list(self.normalisation.offset),
        }

    @property
    def key(self) -> str:
        """Changes whenever anything changes that could change a pixel of the result."""
        files = [file_state(path) for path in self.scene.files]
        grid = self.scene.grid
        place = [grid.crs.to_wkt(), list(grid.transform), grid.height, grid.width, self.plan.strip_patch_rows]
        everything = [self.parameters, files, place, self.scene.on_read_error, self.batch]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:12]

    def open_runtime(self, kind: RuntimeKind) -> Runtime:
        patches = RawPatches(self.plan.patch, self.scene.dtype, self.normalisation)
        runtime = open_runtime(self.model, patches, kind)
        return runtime if self.tta == "none" else AugmentedRuntime(runtime, self.tta)


def plan_job(paths: Sequence[str], wishes: Wishes, narrator: Narrator = QUIET) -> Job:
    """Settle everything about a prediction, or say in one line why it cannot be done."""
    scene = open_scene(paths, wishes.assume_crs, wishes.on_read_error)
    model = find_model(wishes.model)
    card = model.card
    bands = (
        requested_bands(scene.all_bands, wishes.bands, scene.name)
        if wishes.bands
        else matching_bands(scene.all_bands, card.bands, scene.name)
    )
    if len(bands) != len(card.bands):
        raise InputError(
            f"--bands {wishes.bands}: {len(bands)} given, but {card.name} wants {len(card.bands)}: {', '.join(card.bands)}"
        )
    scene = at_model_resolution(scene.with_bands(bands), card, wishes.gsd, narrator)
    plan = plan_patches(scene, model, wishes)
    threshold = card.threshold if wishes.threshold is None else wishes.threshold
    if not 0 < threshold < 1:
        raise InputError(f"--threshold {threshold:g}: give a probability between 0 and 1")
    if wishes.threshold is not None and card.class_channels > 1:
        raise InputError(
            f"--threshold {threshold:g}: {card.name} tells several classes apart, of which the likeliest counts; leave it out"
        )
    if wishes.batch is not None and wishes.batch < 1:
        raise InputError(f"--batch {wishes.batch}: give at least 1")
    devices = ["cpu"] if model.is_onnx and wishes.device == "auto" else find_devices(wishes.device)
    kind = choose(model, devices[0], wishes.engine, wishes.precision)
    kinds = tuple(RuntimeKind(device, kind.engine, kind.precision) for device in devices)
    with scene.open() as reader:
        look = reader.sample()
    normalisation = scene_normalisation(card, look.values, look.valid, scene.name)
    job = Job(scene, model, plan, normalisation, threshold, wishes.tta, kinds, wishes.batch)
    tell(job, narrator)
    return job


def plan_patches(scene: Scene, model: Model, wishes: Wishes) -> Plan:
    patch = model.card.patch if wishes.patch is None else wishes.patch
    if patch > 16384:
        raise InputError(
            f"--patch {patch}: larger than any model can use; the model's own size is {model.card.patch}"
        )
    if not model.is_onnx:
        step = 2 ** int(model.architecture.get("encoder_depth", 5))
        if patch < step or patch % step:
            raise InputError(f"--patch {patch}: {model.card.name} needs a multiple of {step}")
    overlap = patch // 8 if wishes.overlap is None else wishes.overlap
    return Plan.sized(scene.grid.height, scene.grid.width, patch, overlap)


def tell(job: Job, narrator: Narrator) -> None:
    """Say what is about to happen, and loudly when a GPU lies idle."""
    idle = unused_gpu()
    if idle:
        narrator.warn(idle)
    scene, plan = job.scene, job.plan
    narrator.say(
        f"Scene   {scene.name}: {scene.native.width:,} x {scene.native.height:,} pixels of {scene.native.gsd_m:.3g} m"
    )
    if scene.is_resampled:
        narrator.say(
            f"        read as {scene.grid.width:,} x {scene.grid.height:,} pixels of {scene.grid.gsd_m:.3g} m"
        )
    narrator.say(
        f"Model   {job.model.card.name}, {plan.patches:,} patches of {plan.patch} pixels, {plan.overlap} shared"
    )
    devices = ", ".join(device_name(kind.device) for kind in job.kinds)
    narrator.say(f"Device  {devices}, {job.kinds[0].engine} {job.kinds[0].precision}")


def file_state(path: str) -> list[Any]:
    """A file's name, size and time, which change when the file does."""
    if not Path(path).exists():
        return [path]
    status = os.stat(path)
    return [str(Path(path).resolve()), status.st_size, status.st_mtime_ns]
