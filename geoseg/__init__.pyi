"""Written by tests/support/front_door.py from the classes of options; a test keeps the two the same."""

import os
from collections.abc import Sequence
from typing import Literal, overload

import geopandas as gpd
from matplotlib.axes import Axes

from geoseg.datasets.prepare import PrepareResult
from geoseg.errors import GeosegError as GeosegError
from geoseg.errors import InputError as InputError
from geoseg.evaluation.results import EvaluationResult
from geoseg.models.card import Card as Card
from geoseg.models.store import Model
from geoseg.training.trained_model import TrainedModel
from geoseg.workflows.infer import InferResult
from geoseg.workflows.results import ShareResult
from geoseg.workflows.scenes import ScenesResult
from geoseg.workflows.stats import StatsResult
from geoseg.workflows.vectorize import VectorizeResult

__version__: str
__all__ = ["Card", "GeosegError", "InputError", "evaluate", "infer", "open_model", "plot", "prepare", "stats", "train", "vectorize"]

File = str | os.PathLike[str]


def evaluate(
    predictions: File | gpd.GeoDataFrame | Sequence[File | gpd.GeoDataFrame],
    truth: File | gpd.GeoDataFrame,
    *,
    against: Sequence[str] = (),
    image: str | None = None,
    probability: str | None = None,
    area: str | None = None,
    gsd_m: float | None = None,
    split: Literal["train", "validation", "test"] | None = None,
    places: Sequence[str] = (),
    threshold: float | None = None,
    min_area_m2: float | None = None,
    boundary: int | None = None,
    regions: str | os.PathLike[str] | gpd.GeoDataFrame | None = None,
    page: File | None = None,
    overwrite: bool = False,
    device: str | None = None,
) -> EvaluationResult: ...


def infer(
    scene: File | Sequence[File],
    out: File | None = None,
    *,
    workers: int | None = None,
    dask: str | None = None,
    shard: str | None = None,
    min_area_m2: float | None = None,
    max_hole_m2: float = 2.0,
    regularize: bool | None = None,
    simplify_m: float = 0.0,
    split: Literal["auto", "touching", "none"] = "auto",
    connectivity: Literal[4, 8] = 4,
    crs: str | None = None,
    area_crs: str = "auto",
    regions: str | os.PathLike[str] | gpd.GeoDataFrame | None = None,
    region_id: str | None = None,
    qgis_project: File | None = None,
    overwrite: bool = False,
    model: str = "default",
    threshold: float | None = None,
    gsd: str | float = "auto",
    patch: int | None = None,
    overlap: int | None = None,
    tta: Literal["none", "flips", "d4"] = "none",
    bands: str | None = None,
    assume_crs: str | None = None,
    on_read_error: Literal["stop", "nodata"] = "stop",
    device: str = "auto",
    engine: Literal["auto", "torch", "openvino", "onnx"] = "auto",
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    batch: int | None = None,
    mask: File | None = None,
    mask_from: Literal["pixels", "footprints"] = "pixels",
    probability: File | None = None,
    report: File | None = None,
    all_outputs: File | None = None,
    coco: File | None = None,
    coco_images: File | None = None,
) -> InferResult | ScenesResult | ShareResult: ...


def open_model(
    name: File = "default",
) -> Model: ...


def plot(
    *layers: File | gpd.GeoDataFrame,
    axes: Axes | None = None,
    window: str | None = None,
    color_by: Literal["one", "area", "confidence", "class"] = "one",
    fill: float | None = None,
    title: str | None = None,
    attribution: str | None = None,
    width: int = 1600,
) -> Axes: ...


def stats(
    footprints: File | gpd.GeoDataFrame,
    regions: File | gpd.GeoDataFrame,
    out: File | None = None,
    *,
    workers: int | None = None,
    dask: str | None = None,
    region_id: str | None = None,
    probability: File | None = None,
    mask: File | None = None,
    area_crs: str = "auto",
    csv: File | None = None,
    overwrite: bool = False,
) -> StatsResult: ...


def train(
    dataset: File,
    out: File,
    config: File | None = None,
    *,
    overwrite: bool = False,
    name: str = "",
    description: str = "",
    licence: str = "",
    architecture: str = "unet",
    encoder: str = "resnet18",
    weights: str = "imagenet",
    arguments: str = "",
    start_from: str = "",
    derived: str = "",
    patch: int = 256,
    gsd: float | None = None,
    low: float | None = None,
    high: float | None = None,
    stretch: Literal["auto", "never", "when-foreign", "always"] = "auto",
    oversample: str = "",
    empty: float = 1.0,
    place_balance: float = 0.5,
    seams: Literal["auto", "always", "never"] = "auto",
    separate: Literal["auto", "always", "never"] = "auto",
    augment: Literal["none", "flips", "light", "strong", "sensors"] = "strong",
    workers: int | None = None,
    loss: str = "auto",
    boundary_weight: float = 0.7,
    distance_weight: float = 2.0,
    class_weights: str = "",
    label_smoothing: float = 0.0,
    steps: int = 3000,
    minutes: float = 0.0,
    batch: int = 8,
    accumulate: int = 1,
    optimizer: Literal["adamw", "adam", "adamax", "sgd"] = "adamw",
    learning_rate: float = 0.001,
    weight_decay: float = 0.01,
    momentum: float = 0.9,
    schedule: Literal["cosine", "constant", "step", "plateau", "one-cycle"] = "cosine",
    warmup: int | None = None,
    step_every: int = 1000,
    drop: float = 0.1,
    patience: int = 3,
    clip: float = 1.0,
    ema: float = 0.0,
    early_stopping: int = 0,
    seed: int = 0,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    device: str = "auto",
    validate_every: int = 250,
    validation_patches: int = 200,
    checkpoint_every: int = 100,
    tensorboard: bool = False,
    half_weights: bool = False,
) -> TrainedModel | None: ...


def vectorize(
    mask: File,
    out: File | None = None,
    *,
    workers: int | None = None,
    dask: str | None = None,
    shard: str | None = None,
    min_area_m2: float | None = None,
    max_hole_m2: float = 2.0,
    regularize: bool | None = None,
    simplify_m: float = 0.0,
    split: Literal["auto", "touching", "none"] = "auto",
    connectivity: Literal[4, 8] = 4,
    crs: str | None = None,
    area_crs: str = "auto",
    regions: str | os.PathLike[str] | gpd.GeoDataFrame | None = None,
    region_id: str | None = None,
    qgis_project: File | None = None,
    overwrite: bool = False,
    probability: str | None = None,
    threshold: float | None = None,
    band: int | None = None,
    classes: Sequence[str] = (),
    assume_crs: str | None = None,
    gsd_m: float | None = None,
    image: str | None = None,
    strip_rows: int | None = None,
) -> VectorizeResult | ShareResult: ...


@overload
def prepare(
    kind: Literal["masks"],
    source: File | None,
    out: File,
    *,
    name: str | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_share: float = 0.2,
    workers: int | None = None,
    images: str | None = None,
    labels: str | None = None,
    bands: str = "red,green,blue",
    gsd: float | None = None,
    place: str | None = None,
    classes: str = "building",
    size: str | None = None,
) -> PrepareResult: ...


@overload
def prepare(
    kind: Literal["vectors"],
    source: File | None,
    out: File,
    *,
    name: str | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_share: float = 0.2,
    workers: int | None = None,
    images: str | None = None,
    labels: str | None = None,
    bands: str = "red,green,blue",
    gsd: float | None = None,
    place: str | None = None,
    footprints: str | None = None,
    class_field: str | None = None,
    classes: str = "background=,building=*",
    labelled: File | None = None,
    form: Literal["masks", "vectors"] = "vectors",
) -> PrepareResult: ...


@overload
def prepare(
    kind: Literal["coco"],
    source: File | None,
    out: File,
    *,
    name: str | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_share: float = 0.2,
    workers: int | None = None,
    images: File | None = None,
    bands: str = "red,green,blue",
    gsd: float | None = None,
    limit: int | None = None,
    every: int = 1,
    form: Literal["masks", "vectors"] = "masks",
    crowds: Literal["ignore", "draw"] = "ignore",
) -> PrepareResult: ...


@overload
def prepare(
    kind: Literal["inria"],
    source: File | None,
    out: File,
    *,
    name: str | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_share: float = 0.2,
    workers: int | None = None,
    by_city: bool = False,
) -> PrepareResult: ...


@overload
def prepare(
    kind: Literal["cvat"],
    source: File | None,
    out: File,
    *,
    name: str | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_share: float = 0.2,
    workers: int | None = None,
    bands: str = "red,green,blue",
    gsd: float | None = None,
    attribute: str | None = None,
) -> PrepareResult: ...


@overload
def prepare(
    kind: Literal["sentinel-esm"],
    source: File | None,
    out: File,
    *,
    name: str | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_share: float = 0.2,
    workers: int | None = None,
    images: str | None = None,
    labels: str | None = None,
    bands: str = "red,green,blue",
    gsd: float | None = None,
    place: str | None = None,
    label_tiles: str | None = None,
    classes: str = "esm",
    threshold: float = 0.5,
    cloud: str | None = None,
    cloud_values: str = "0 1 3 8 9 10 11",
    reflectance: str | None = None,
) -> PrepareResult: ...


@overload
def prepare(
    kind: Literal["export"],
    source: File | None,
    out: File,
    *,
    name: str | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_share: float = 0.2,
    workers: int | None = None,
    side: int = 512,
) -> PrepareResult: ...


@overload
def prepare(
    kind: Literal["demo"],
    source: File | None,
    out: File,
    *,
    name: str | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    origin: str | None = None,
    overwrite: bool = False,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_share: float = 0.2,
    workers: int | None = None,
    scenes: int = 4,
    size: int = 1024,
    seed: int = 0,
    gsd: float = 0.3,
) -> PrepareResult: ...
