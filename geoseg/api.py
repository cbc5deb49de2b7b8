"""The functions of `import geoseg`: each takes paths and the options of its command as keywords, and gives a result.

What geopandas holds in memory may stand where a vector file may; an output that is left out is not kept on disk.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar, cast

from geoseg.datasets.options import KINDS
from geoseg.errors import GeosegError, InputError, explain_missing_torch, shorten_error
from geoseg.evaluation.options import EvaluateOptions
from geoseg.options import Options, list_options
from geoseg.reports.options import PlotOptions
from geoseg.training.options import TrainOptions
from geoseg.workflows.options import (
    CompareOptions,
    InferOptions,
    PublishOptions,
    SampleOptions,
    StatsOptions,
    VectorizeOptions,
)

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

    from geoseg.datasets.prepare import PrepareResult
    from geoseg.evaluation.calibrate import CalibrationResult
    from geoseg.evaluation.results import EvaluationResult
    from geoseg.models.store import Model
    from geoseg.training.trained_model import TrainedModel
    from geoseg.workflows.compare import CompareResult
    from geoseg.workflows.infer import InferResult
    from geoseg.workflows.publish import PublishResult
    from geoseg.workflows.results import ShareResult
    from geoseg.workflows.sample import SampleResult
    from geoseg.workflows.scenes import ScenesResult
    from geoseg.workflows.stats import StatsResult
    from geoseg.workflows.vectorize import VectorizeResult

File = str | os.PathLike[str]
SIMILAR = 0.7
"""How like a name must be to be proposed for another: below it, names have little but their endings in common."""
Function = TypeVar("Function", bound=Callable[..., Any])


def document_options(kind: type[Options]) -> Callable[[Function], Function]:
    """Let `help` and editors see the options of a class as keywords of a function that takes them as `**options`."""

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        keywords = [
            inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default)
            for option in list_options(kind)
        ]
        described = "\n".join(f"    {option.name}: {option.help}" for option in list_options(kind))
        names = [parameter.name for parameter in (*own, *keywords)]

        @wraps(function)
        def checked(*arguments: Any, **options: Any) -> Any:
            refuse_unknown(function.__name__, options, names)
            return function(*arguments, **options)

        checked.__signature__ = signature.replace(parameters=[*own, *keywords])  # type: ignore[attr-defined]
        checked.__doc__ = f"{function.__doc__}\n\n    Options:\n{described}\n"
        return cast("Function", checked)

    return decorate


def refuse_unknown(function: str, options: Iterable[str], known: Sequence[str]) -> None:
    """Name an option that there is not, and the one that may be meant, as the command line does."""
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=SIMILAR)
            hint = f"did you mean `{near[0]}`?" if near else f"see help(geoseg.{function})"
            raise TypeError(f"{function}() has no option `{name}`; {hint}")


@document_options(InferOptions)
def infer(
    scene: File | Sequence[File], out: File | None = None, **options: Any
) -> InferResult | ScenesResult | ShareResult:
    """Find the buildings of a scene: a raster, several, or a folder of them.

    Footprints go to `out`, class of each pixel and probabilities to `mask` and `probability`. Where none of them is
    given, footprints and mask are kept as long as the result. A stopped run goes on when it is called again.

    Where `out` (or `mask`, `probability`) is a folder, there or with a separator at its end, each scene gets files of its
    own in it; the result then lists what became of each, also of those that failed.
    """
    from geoseg.workflows.infer import infer_scene
    from geoseg.workflows.results import TemporaryFolder
    from geoseg.workflows.scenes import infer_scenes, wants_folder
    from geoseg.workflows.shares import infer_share

    with store_frames(options) as stored:
        asked = InferOptions(**stored)
        if wants_folder(out, asked):
            return infer_scenes(list_files(scene), out, asked)
        if asked.shard is not None:
            return infer_share(list_files(scene), make_path(out), asked)
        if out or asked.mask or asked.probability:
            return infer_scene(list_files(scene), make_path(out), asked)
        refuse_lost_project(asked.qgis_project)
        folder = TemporaryFolder()
        kept = replace(asked, mask=folder.path / "mask.tif")
        result = infer_scene(list_files(scene), folder.path / "buildings.gpkg", kept)
        return replace(result, folder=folder)


@document_options(VectorizeOptions)
def vectorize(mask: File, out: File | None = None, **options: Any) -> VectorizeResult | ShareResult:
    """Turn a mask, or a probability with `threshold`, into building footprints with true areas."""
    from geoseg.workflows.results import TemporaryFolder
    from geoseg.workflows.vectorize import vectorize as vectorize_file
    from geoseg.workflows.vectorize import vectorize_share

    with store_frames(options) as stored:
        asked = VectorizeOptions(**stored)
        if out is not None and asked.shard is not None:
            return vectorize_share(take_path(mask), Path(out), asked)
        if out is not None:
            return vectorize_file(take_path(mask), Path(out), asked)
        if asked.shard is not None:
            raise InputError(f"`shard` {asked.shard}: give `out` as well, beside which shares are kept")
        refuse_lost_project(asked.qgis_project)
        folder = TemporaryFolder()
        result = vectorize_file(take_path(mask), folder.path / "buildings.gpkg", asked)
        return replace(result, folder=folder)


@document_options(StatsOptions)
def stats(
    footprints: File | gpd.GeoDataFrame,
    regions: File | gpd.GeoDataFrame,
    out: File | None = None,
    **options: Any,
) -> StatsResult:
    """Count footprints per region, in true square metres; the table goes into `out` as its layer `regions`."""
    from geoseg.workflows.stats import count_regions

    with store_frames({"footprints": footprints, "regions": regions}) as stored:
        return count_regions(
            Path(take_path(stored["footprints"])),
            take_path(stored["regions"]),
            make_path(out),
            StatsOptions(**options),
        )


@document_options(SampleOptions)
def sample(footprints: File | gpd.GeoDataFrame, out: File, **options: Any) -> SampleResult:
    """Draw points or squares at random over a map, for people to say what is there; `stats` makes figures of the answers."""
    from geoseg.workflows.sample import draw_sample

    with store_frames({"footprints": footprints, **options}) as stored:
        source = Path(take_path(stored.pop("footprints")))
        return draw_sample(source, Path(out), SampleOptions(**stored))


@document_options(CompareOptions)
def compare(
    a: File | gpd.GeoDataFrame, b: File | gpd.GeoDataFrame, out: File | None = None, **options: Any
) -> CompareResult:
    """Find what became of the footprints `a` in the footprints `b`: same, changed, only in one, split, merged.

    The rows go to the layer `changes` of `out`; without it, they are kept as long as the result.
    """
    from geoseg.workflows.compare import compare_footprints
    from geoseg.workflows.results import TemporaryFolder

    with store_frames({"a": a, "b": b, **options}) as stored:
        one, other = (take_path(stored.pop(name)) for name in ("a", "b"))
        asked = CompareOptions(**stored)
        if out is not None:
            return compare_footprints(one, other, Path(out), asked)
        refuse_lost_project(asked.qgis_project)
        folder = TemporaryFolder()
        result = compare_footprints(one, other, folder.path / "changes.gpkg", asked)
        return replace(result, folder=folder)


@document_options(PublishOptions)
def publish(footprints: File | Sequence[File], out: File, **options: Any) -> PublishResult:
    """Write the footprints of many scenes as one GeoParquet data set, sorted by place, without duplicates."""
    from geoseg.workflows.publish import publish_footprints

    return publish_footprints(list_files(footprints), Path(out), PublishOptions(**options))


@document_options(PlotOptions)
def plot(*layers: File | gpd.GeoDataFrame, axes: Axes | None = None, **options: Any) -> Axes:
    """Draw images, masks, footprints and regions over one another, the first at the bottom; returns matplotlib's axes.

    Without `axes`, a figure of its own is made.
    """
    from geoseg.reports.plot import draw_plot, make_axes

    asked = PlotOptions(**options)
    return draw_plot(layers, axes or make_axes(asked), asked)


@document_options(TrainOptions)
def train(
    dataset: File, out: File, config: File | None = None, *, overwrite: bool = False, **options: Any
) -> TrainedModel | None:
    """Train a model on a data set; options override those of the TOML file `config`.

    Where several processes train together, only the leading one gets the model.
    """
    from geoseg.options import read_options

    with explain_missing_torch("training"):
        from geoseg.training.trainer import train_model

    asked = read_options(TrainOptions, make_path(config), options)
    return train_model(Path(take_path(dataset)), Path(out), asked, overwrite)


def prepare(kind: str, source: File | None, out: File, **options: Any) -> PrepareResult:
    """Turn images and labels into an audited data set.

    `kind` says what the source is: masks, vectors, coco, inria, cvat, sentinel-esm, export, or demo, which draws places and needs
    no source. Options are those of `geoseg prepare KIND`.
    """
    from geoseg.datasets.prepare import prepare_dataset

    if kind not in KINDS:
        raise InputError(f"`kind` {kind}: give one of {', '.join(KINDS)}")
    if source is None and kind != "demo":
        raise InputError(f"`source`: must be given; {kind} are read from files")
    return prepare_dataset(Path(take_path(source or "")), Path(out), KINDS[kind](**options))


@document_options(EvaluateOptions)
def evaluate(
    predictions: File | gpd.GeoDataFrame | Sequence[File | gpd.GeoDataFrame],
    truth: File | gpd.GeoDataFrame,
    **options: Any,
) -> EvaluationResult:
    """Score one or more predictions of the same truth: models, masks, probabilities or footprints.

    The truth is a mask, footprints, or a data set. Several predictions are compared with the first one.
    """
    from geoseg.evaluation.run import evaluate_predictions

    several = predictions if isinstance(predictions, list | tuple) else [predictions]
    named = {f"prediction-{number}": each for number, each in enumerate(several, start=1)}
    with store_frames({**named, "truth": truth}) as stored:
        files = [take_path(stored[name]) for name in named]
        return evaluate_predictions(files, take_path(stored["truth"]), EvaluateOptions(**options))


def calibrate(model: File, samples: File, out: File, *, overwrite: bool = False) -> CalibrationResult:
    """Write a copy of a model whose probabilities are right where the sample points are, as a folder of its own."""
    from geoseg.evaluation.calibrate import calibrate_model

    return calibrate_model(take_path(model), Path(take_path(samples)), Path(out), overwrite)


def open_model(name: File = "default") -> Model:
    """A model by its built-in name, folder, .onnx file or hub name; `.card` says what it expects and how good it is."""
    from geoseg.models.store import find_model

    return find_model(take_path(name))


def list_files(files: File | Sequence[File]) -> list[str]:
    several = [files] if isinstance(files, str | os.PathLike) else files
    try:
        return [os.fspath(file) for file in several]
    except TypeError as error:
        raise InputError(
            f"give a file by its path, or several, not a {type(files).__name__}; an array can be saved as .npy first"
        ) from error


def take_path(file: File) -> str:
    """A path as text; what is none is refused in one line."""
    try:
        return os.fspath(file)
    except TypeError as error:
        raise InputError(
            f"give a file by its path, or footprints and regions as a GeoDataFrame, not a {type(file).__name__}"
        ) from error


def make_path(file: File | None) -> Path | None:
    return None if file is None else Path(file)


def refuse_lost_project(project: Path | None) -> None:
    """Refuse a project of files that go with the result."""
    if project is not None:
        raise InputError(f"`qgis_project` {project}: shows files that stay; give `out` as well")


@contextmanager
def store_frames(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The arguments with every GeoDataFrame as a file, which is there until the block ends; paths as they are.

    An error about such a file names the argument, since nobody knows the file.
    """
    frames = {name: value for name, value in arguments.items() if hasattr(value, "to_parquet")}
    with ExitStack() as stack:
        stored = dict(arguments)
        if frames:
            folder = stack.enter_context(TemporaryDirectory(prefix="geoseg-"))
        for name, frame in frames.items():
            stored[name] = os.path.join(folder, f"{name}.parquet")
            try:
                frame.to_parquet(stored[name], index=False)
            except (TypeError, ValueError) as error:  # pyarrow's own are of these kinds
                raise InputError(
                    f"`{name}`: the frame has a column of mixed values ({shorten_error(error)})"
                ) from error
        try:
            yield stored
        except GeosegError as error:
            for name in frames:
                error.args = (str(error).replace(stored[name], f"`{name}`"),)
            raise
