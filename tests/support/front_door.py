"""Writes geoseg/__init__.pyi, which tells editors and mypy what `import geoseg` offers, from the options' classes.

python tests/support/front_door.py
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from geoseg import api
from geoseg.datasets.options import KINDS
from geoseg.evaluation.options import EvaluateOptions
from geoseg.options import Option, Options, list_options
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

STUB = Path(__file__).parents[2] / "geoseg" / "__init__.pyi"
HEADER = '''"""Written by tests/support/front_door.py from the classes of options; a test keeps the two the same."""

import os
from collections.abc import Sequence
from typing import Literal, overload

import geopandas as gpd
from matplotlib.axes import Axes

from geoseg.datasets.prepare import PrepareResult
from geoseg.errors import GeosegError as GeosegError
from geoseg.errors import InputError as InputError
from geoseg.evaluation.calibrate import CalibrationResult
from geoseg.evaluation.results import EvaluationResult
from geoseg.models.card import Card as Card
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

__version__: str
__all__ = [{names}]

File = str | os.PathLike[str]
'''
FUNCTIONS: dict[str, type[Options] | None] = {
    "calibrate": None,
    "compare": CompareOptions,
    "evaluate": EvaluateOptions,
    "infer": InferOptions,
    "open_model": None,
    "plot": PlotOptions,
    "sample": SampleOptions,
    "publish": PublishOptions,
    "stats": StatsOptions,
    "train": TrainOptions,
    "vectorize": VectorizeOptions,
}
FRAMES = ("regions",)
"""Options that name a vector file, in whose place a GeoDataFrame may stand."""


def write_stub() -> str:
    """The text of the stub."""
    import geoseg

    names = ", ".join(f'"{name}"' for name in geoseg.__all__)
    functions = [format_function(name, kind) for name, kind in FUNCTIONS.items()]
    prepares = [
        format_function("prepare", kind, {"kind": f'Literal["{name}"]'}, "@overload\n")
        for name, kind in KINDS.items()
    ]
    return HEADER.format(names=names) + "".join(functions + prepares)


def format_function(
    name: str, kind: type[Options] | None, kinds: Mapping[str, str] = MappingProxyType({}), above: str = ""
) -> str:
    """A function with its options; `kinds` are types of parameters where the stub tells more than the code."""
    function = getattr(api, name)
    options = list_options(kind) if kind else ()
    own = inspect.signature(function).parameters.values()
    known = {option.name for option in options}
    lines = [
        format_parameter(each, kinds.get(each.name, each.annotation))
        for each in own
        if each.name not in known and each.kind is not each.VAR_KEYWORD
    ]
    if options and not any(line.startswith("*") for line in lines):
        starred = next((i for i, p in enumerate(own) if p.kind is p.KEYWORD_ONLY), len(lines))
        lines.insert(starred, "*")
    lines += map(format_option, options)
    body = "".join(f"    {line},\n" for line in lines)
    return f"\n\n{above}def {name}(\n{body}) -> {inspect.signature(function).return_annotation}: ...\n"


def format_parameter(parameter: inspect.Parameter, kind: str) -> str:
    default = "" if parameter.default is parameter.empty else f" = {write_literal(parameter.default)}"
    star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
    return f"{star}{parameter.name}: {kind}{default}"


def format_option(option: Option) -> str:
    kinds = [name_kind(option.kind)]
    if option.name in FRAMES:
        kinds.append("os.PathLike[str] | gpd.GeoDataFrame")
    if option.default is None:
        kinds.append("None")
    return f"{option.name}: {' | '.join(kinds)} = {write_literal(option.default)}"


def write_literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def name_kind(kind: Any) -> str:
    """A type as the stub writes it."""
    if kind is Path:
        return "File"
    if get_origin(kind) is Literal:
        return f"Literal[{', '.join(map(write_literal, get_args(kind)))}]"
    if get_origin(kind) is tuple:
        return "Sequence[str]"
    return (
        getattr(kind, "__name__", str(kind)) if isinstance(kind, type) else str(kind).replace("typing.", "")
    )


if __name__ == "__main__":
    STUB.write_text(write_stub(), encoding="utf-8")
