"""Everything that decides a prediction, settled before the first pixel is read: a plain value.

That includes the grid on which the model sees the scene: buildings look right to it only at about its own resolution.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from geoseg import __version__
from geoseg.errors import InputError
from geoseg.inference.loaded import LoadedModel, load_model
from geoseg.inference.options import Augmentation, PredictOptions
from geoseg.inference.predictor import AugmentedRuntime, Decision
from geoseg.io.addresses import find_changed_source, read_source_state
from geoseg.models.architecture import takes_any_size
from geoseg.models.backends.base import RawPatches, Runtime, RuntimeKind
from geoseg.models.card import Card
from geoseg.models.normalisation import (
    Normalisation,
    fit_scene_normalisation,
    make_fixed_normalisation,
)
from geoseg.models.runtime import describe_device
from geoseg.models.store import Model, find_model, list_builtin_models
from geoseg.parallel import count_threads
from geoseg.progress import format_count
from geoseg.raster.bands import match_bands, parse_bands
from geoseg.raster.dates import find_image_date, parse_date
from geoseg.raster.grid import PixelSize
from geoseg.raster.plan import Plan
from geoseg.raster.scene import Scene, open_scene
from geoseg.raster.source import Pixels

log = logging.getLogger(__name__)

NEAR_ENOUGH = 1.25
GOOD_REFINEMENT = 1.5
LARGEST_COARSENESS = 5.0


def resample_for_model(scene: Scene, card: Card, request: str | float) -> Scene:
    """The scene on the grid that `gsd` means: auto, native, or a number of metres."""
    native_m = scene.native.gsd_m
    wanted_m = choose_gsd(native_m, card, request)
    if request != "auto":
        refuse_gsd_out_of_range(card, wanted_m, request)
    if request == "native" or (wanted_m == native_m and not scene.native.is_geographic):
        return scene
    if native_m > LARGEST_COARSENESS * card.gsd_m:
        raise InputError(
            f"{scene.name}: pixels of {native_m:.3g} m are too coarse for {card.name}, which was made for "
            f"{card.gsd_m:g} m; use {name_fitting_models(scene) or f'a model made for {native_m:.2g} m'}, or sharper imagery"
        )
    if native_m > GOOD_REFINEMENT * wanted_m:
        log.warning(
            f"{scene.name}: pixels of {native_m:.3g} m are {native_m / wanted_m:.1f} times coarser than the {wanted_m:g} m "
            f"that {card.name} tolerates; expect merged and missed small buildings"
        )
    return scene.resample(wanted_m)


def name_fitting_models(scene: Scene) -> str:
    """The built-in models that know a scene's bands and resolution, as an option; empty if there are none."""
    cards = [find_model(name).card for name in list_builtin_models()]
    fitting = [
        card.name
        for card in cards
        if card.gsd_range_m[0] <= scene.native.gsd_m <= card.gsd_range_m[1] and has_bands(scene, card)
    ]
    return " or ".join(f"`model` {name}" for name in fitting)


def has_bands(scene: Scene, card: Card) -> bool:
    """Whether a scene's bands are those of a model, by their names."""
    try:
        match_bands(scene.all_bands, card.bands, scene.name)
    except InputError:
        return False
    return True


def choose_gsd(native_m: float, card: Card, request: str | float) -> float:
    if request == "native":
        return native_m
    if request == "auto":
        return find_best_gsd(native_m, card)
    return parse_metres(request)


def parse_metres(request: str | float) -> float:
    """A resolution that is given as a number."""
    try:
        metres = float(request)
    except (ValueError, OverflowError):
        metres = 0.0
    if not 0 < metres < float("inf"):
        raise InputError(f"`gsd` {request}: give auto, native or a size in metres above zero")
    return metres


def choose_picture_pixel(request: str | float, card: Card) -> PixelSize:
    """What to take for the pixels of a picture that lies nowhere: those that `gsd` names, else those of the model."""
    if request in ("auto", "native"):
        return PixelSize(card.gsd_m, is_known=False)
    return PixelSize(parse_metres(request), is_known=True)


def find_best_gsd(native_m: float, card: Card) -> float:
    """The scene's own pixels where the model takes them, for refining them adds nothing but work.

    Coarser ones are refined as little as the model needs. Finer ones become the model's: it was made for those.
    """
    if native_m * NEAR_ENOUGH < card.gsd_m:
        return card.gsd_m
    return min(native_m, max(card.gsd_m * NEAR_ENOUGH, card.gsd_range_m[1]))


def refuse_gsd_out_of_range(card: Card, gsd_m: float, request: str | float) -> None:
    finest, coarsest = card.gsd_range_m
    # A little room, since a ground size computed from a CRS is never a round number.
    if not finest * 0.99 <= gsd_m <= coarsest * 1.01:
        raise InputError(
            f"`gsd` {request}: pixels of {gsd_m:.3g} m are outside the {finest:g} to {coarsest:g} m that "
            f"{card.name} tolerates; use `gsd` auto"
        )


@dataclass(frozen=True)
class Job:
    """A scene, a model, and how the one is run over the other."""

    scene: Scene
    loaded: LoadedModel
    plan: Plan
    normalisation: Normalisation
    threshold: float
    tta: Augmentation
    batch: int | None
    source_states: list[list[Any]]
    """The state of each file of the scene before it was read."""
    image_date: str | None
    """When the scene was taken, where that is known."""
    sample_sha256: str
    """Tells apart scenes whose files have no state, such as those in cloud storage."""

    @property
    def model(self) -> Model:
        return self.loaded.model

    @property
    def kinds(self) -> tuple[RuntimeKind, ...]:
        return self.loaded.kinds

    @property
    def decision(self) -> Decision:
        card = self.model.card
        return Decision(card.class_channels, self.threshold, len(card.separators))

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
            **({"image_date": self.image_date} if self.image_date else {}),
        }

    @property
    def key(self) -> str:
        """Changes whenever anything changes that could change a pixel of the result."""
        return self._hash(self.parameters)

    @property
    def question(self) -> str:
        """The same, whatever engine answers."""
        machine = ("engine", "precision", "device")
        return self._hash({name: value for name, value in self.parameters.items() if name not in machine})

    def _hash(self, parameters: Mapping[str, Any]) -> str:
        grid = self.scene.grid
        unit = grid.unit and grid.unit.metres
        place = [grid.crs.to_wkt(), list(grid.transform), *grid.shape, unit, self.plan.strip_patch_rows]
        files = [self.source_states, self.sample_sha256]
        everything = [parameters, files, place, self.scene.on_read_error, self.batch]
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def raw_patches(self) -> RawPatches:
        return make_raw_patches(self.scene, self.plan, self.normalisation)

    def open_runtime(self, kind: RuntimeKind) -> Runtime:
        runtime = self.loaded.open_runtime(self.raw_patches, kind)
        return runtime if self.tta == "none" else AugmentedRuntime(runtime, self.tta)

    def find_changed_source(self) -> str | None:
        """A file of the scene that is no longer what it was when the job was planned."""
        return find_changed_source(self.scene.sources, self.source_states)


def plan_job(paths: Sequence[str], options: PredictOptions, loaded: LoadedModel | None = None) -> Job:
    """Settle everything about a prediction, or say in one line why it cannot be done.

    A model that is `loaded` already, with the same options, is used again.
    """
    model = loaded.model if loaded else find_model(options.model)
    card = model.card
    pixel = choose_picture_pixel(options.gsd, card)
    scene = open_scene(paths, options.assume_crs, options.on_read_error, pixel)
    bands = (
        parse_bands(scene.all_bands, options.bands, scene.name)
        if options.bands
        else match_model_bands(scene, card)
    )
    if len(bands) != len(card.bands):
        raise InputError(
            f"`bands` {options.bands}: {len(bands)} given, but {card.name} wants {len(card.bands)}: {', '.join(card.bands)}"
        )
    # Of a picture that lies nowhere, a number tells the pixels it has, not those to work with.
    gsd = options.gsd if scene.native.is_placed or options.gsd == "native" else "auto"
    scene = resample_for_model(scene.with_bands(bands), card, gsd)
    plan = plan_patches(scene, model, options)
    threshold = card.threshold if options.threshold is None else options.threshold
    if options.threshold is not None and card.class_channels > 1:
        raise InputError(
            f"`threshold` {threshold:g}: {card.name} tells several classes apart, of which the likeliest counts; leave it out"
        )
    states = [read_source_state(file) for file in scene.sources]
    with ThreadPoolExecutor(1) as pool:
        sampled = pool.submit(sample_scene, scene)
        loaded = loaded or load_model(model, options)
        open_likely_runtime(loaded, scene, plan)
        look = sampled.result()
    warn_of_black_ground(scene, look)
    normalisation = fit_scene_normalisation(card, look.values, look.valid, scene.name)
    sample_sha256 = hashlib.sha256(look.values.tobytes() + look.valid.tobytes()).hexdigest()
    image_date = parse_date(options.date) if options.date else find_image_date(paths, scene.files)
    job = Job(
        scene,
        loaded,
        plan,
        normalisation,
        threshold,
        options.tta,
        options.batch,
        states,
        image_date,
        sample_sha256,
    )
    report_job(job)
    return job


def sample_scene(scene: Scene) -> Pixels:
    with scene.open() as reader:
        return reader.sample()


COLORS = 3
BLACK_SHARE = 0.05
"""Photographs have fewer pixels that are black in every band; more are most likely where no image is."""


def warn_of_black_ground(scene: Scene, look: Pixels) -> None:
    """Tell of ground that counts as seen although it is most likely beside the image."""
    black = look.valid & (look.values == 0).all(axis=0)
    share = black.sum() / max(1, look.valid.sum())
    if len(look.values) >= COLORS and share > BLACK_SHARE:
        log.warning(
            f"{scene.name}: of a sample of its pixels {share:.0%} are black, and count as seen ground; if no image is there, "
            f"let the file say so: rio edit-info --nodata 0 {scene.name}"
        )


LARGEST_PATCH = 16384
LARGEST_LIKELY_PATCH = 1024
"""Networks on larger patches are not loaded before it is known that the machine's memory holds them."""


def open_likely_runtime(loaded: LoadedModel, scene: Scene, plan: Plan) -> None:
    """Make ready what will run most scenes, those on the model's own scale, while this one is looked at."""
    card, kind = loaded.model.card, loaded.kinds[0]
    is_likely = card.scaling.stretch != "always" and plan.patch <= LARGEST_LIKELY_PATCH
    if is_likely and kind.device == "cpu" and not loaded.place:
        loaded.open_runtime(make_raw_patches(scene, plan, make_fixed_normalisation(card)), kind)


def make_raw_patches(scene: Scene, plan: Plan, normalisation: Normalisation) -> RawPatches:
    """What a runtime is fed. Patches are many where no core waits long for the last ones."""
    many = plan.patches >= 2 * count_threads()
    return RawPatches(plan.patch, scene.dtype, normalisation, many)


def match_model_bands(scene: Scene, card: Card) -> tuple[int, ...]:
    """The bands that a model wants; where a scene has no such bands, the line says which built-in model fits it."""
    try:
        return match_bands(scene.all_bands, card.bands, scene.name)
    except InputError as error:
        fitting = name_fitting_models(scene)
        if not fitting:
            raise
        raise InputError(f"{error}, or use {fitting}") from error


def plan_patches(scene: Scene, model: Model, options: PredictOptions) -> Plan:
    """Patches as large as asked for, or of about the model's size and fitted to the scene."""
    usual = model.card.patch if options.patch is None else options.patch
    overlap = usual // 8 if options.overlap is None else options.overlap
    check_patch(usual, model)
    plan = Plan.for_size(*scene.grid.shape, usual, overlap)
    if options.patch is not None or model.is_onnx or not takes_any_size(model.architecture):
        return plan
    return plan.fit(find_patch_step(model.architecture))


def check_patch(patch: int, model: Model) -> None:
    if patch > LARGEST_PATCH:
        raise InputError(
            f"`patch` {patch}: larger than any model can use; the model's own size is {model.card.patch}"
        )
    step = 1 if model.is_onnx else find_patch_step(model.architecture)
    if patch < step or patch % step:
        raise InputError(f"`patch` {patch}: {model.card.name} needs a multiple of {step}")


def find_patch_step(architecture: Mapping[str, Any]) -> int:
    """What a patch's side must be a multiple of: how far the encoder shrinks it. Dilated encoders shrink it less."""
    halved: int = 2 ** int(architecture.get("encoder_depth", 5))
    return min(halved, int(architecture.get("encoder_output_stride") or halved))


def report_job(job: Job) -> None:
    """Say what is about to happen."""
    scene, plan = job.scene, job.plan
    log.info(
        f"Scene   {scene.name}: {scene.native.width:,} x {scene.native.height:,} pixels of {scene.native.gsd_m:.3g} m"
    )
    if scene.native.counts_pixels:
        log.info(
            f"        nothing tells how large they are: taken to be as large as those of {job.model.card.name}, and sizes are "
            "given in pixels; give `gsd` METRES if you know it"
        )
    if scene.is_resampled:
        log.info(
            f"        read as {scene.grid.width:,} x {scene.grid.height:,} pixels of {scene.grid.gsd_m:.3g} m"
        )
    shared = f", {plan.overlap} of them shared with the next" if plan.patches > 1 else ""
    patches = f"{format_count(plan.patches, 'patch', 'patches')} of {plan.patch} pixels{shared}"
    log.info(f"Model   {job.model.card.name}, {patches}")
    devices = job.loaded.place or ", ".join(describe_device(kind.device) for kind in job.kinds)
    log.info(f"Device  {devices}, {job.kinds[0].engine} {job.kinds[0].precision}")
