"""`geoseg train`: train a model on a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from geoseg.cli.console import print_result, wrap_command
from geoseg.options import format_flag
from geoseg.training.options import describe_options


def add_setting_options(function: Callable[..., None]) -> Callable[..., None]:
    """A flag for every setting; one that is not given leaves the file's value, or the default."""
    for name, kind, default, meaning in reversed(describe_options()):
        shown = "" if "[default" in meaning or default in ("", None) else f" [default: {default}]"
        names = [format_flag(name), name] + (["--from"] if name == "start_from" else [])
        given: dict[str, Any] = {"type": choose_click_type(kind), "default": None, "help": meaning + shown}
        if kind is bool:
            names[0], given = (
                f"{format_flag(name)}/--no-{format_flag(name)[2:]}",
                {"default": None, "help": meaning},
            )
        function = click.option(*names, **given)(function)
    return function


def choose_click_type(kind: Any) -> Any:
    return click.Choice(get_args(kind)) if get_origin(kind) is Literal else kind


@click.command("train")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Folder of the run, and of the model at its end."
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings as TOML; flags go before it.")
@click.option(
    "--show-samples",
    type=click.Path(path_type=Path),
    help="Write a picture of patches as they are shown, and stop.",
)
@click.option("--overwrite", is_flag=True, help="Start over, also where the folder holds a model.")
@add_setting_options
@wrap_command
def command(
    *,
    dataset: Path,
    out: Path | None,
    config: Path | None,
    show_samples: Path | None,
    overwrite: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a model on DATASET, a folder with a dataset.toml as geoseg prepare writes it.

    A run that was stopped, however it was stopped, goes on where it was when the same command is given again.
    Several GPUs: torchrun --nproc-per-node 4 -m geoseg train ...

    \b
    Examples:
      geoseg train data/ --out runs/roofs
      geoseg train data/ --out runs/roofs --architecture deeplabv3+ --encoder resnet101 --loss unified-focal
      geoseg train data/ --out runs/built --derived "ndvi; mndwi" --oversample auto --config train.toml
      geoseg train data/ --show-samples samples.png
    """
    from geoseg.training.options import read_train_options

    settings = read_train_options(config, flags)
    if show_samples is not None:
        from geoseg.training.trainer import draw_training_patches

        draw_training_patches(dataset, show_samples, settings)
        print_result({"samples": str(show_samples)}, as_json, f"Samples {show_samples}")
        return
    if out is None:
        raise click.UsageError("Missing option '--out': the folder of the run.")
    from geoseg.cli.main import keep_large_buffers
    from geoseg.training.trainer import train_model

    keep_large_buffers()
    finished = train_model(dataset, out, settings, overwrite)
    if finished is not None:
        print_result(finished.summary, as_json, str(finished))
