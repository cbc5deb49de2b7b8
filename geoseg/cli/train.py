"""`geoseg train`: a data set becomes a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from geoseg.cli import console
from geoseg.learn.settings import described, flag
from geoseg.narrator import Narrator


def setting_options(function: Callable[..., None]) -> Callable[..., None]:
    """A flag for every setting; one that is not given leaves the file's value, or the default."""
    for name, kind, default, meaning in reversed(described()):
        shown = "" if "[default" in meaning or default in ("", None) else f" [default: {default}]"
        names = [flag(name), name] + (["--from"] if name == "start_from" else [])
        given: dict[str, Any] = {"type": click_type(kind), "default": None, "help": meaning + shown}
        if kind is bool:
            names[0], given = f"{flag(name)}/--no-{flag(name)[2:]}", {"default": None, "help": meaning}
        function = click.option(*names, **given)(function)
    return function


def click_type(kind: Any) -> Any:
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
@setting_options
@console.command
def command(
    *,
    dataset: Path,
    out: Path | None,
    config: Path | None,
    show_samples: Path | None,
    overwrite: bool,
    narrator: Narrator,
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
    from geoseg.learn.settings import read_settings

    settings = read_settings(config, flags)
    if show_samples is not None:
        from geoseg.learn.training.train import draw_samples

        draw_samples(dataset, show_samples, settings, narrator)
        console.result({"samples": str(show_samples)}, as_json, f"Samples {show_samples}")
        return
    if out is None:
        raise click.UsageError("Missing option '--out': the folder of the run.")
    from geoseg.cli.memory import keep_large_buffers
    from geoseg.learn.training.train import train

    keep_large_buffers()
    finished = train(dataset, out, settings, overwrite, narrator)
    if finished is not None:
        console.result(finished.summary, as_json, str(finished))
