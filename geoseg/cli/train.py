"""`geoseg train`: train a model on a data set."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import GroupedCommand, add_option, print_result, wrap_resuming_command
from geoseg.cli.options import take_options
from geoseg.errors import explain_missing_torch
from geoseg.options import OUTPUTS
from geoseg.training.options import TrainOptions


@click.command("train", cls=GroupedCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@add_option(
    OUTPUTS,
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    help="Folder of the run, and of the model at its end.",
)
@add_option(
    OUTPUTS,
    "--show-samples",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Write a picture of patches as the network sees them, and stop.",
)
@add_option(OUTPUTS, "--overwrite", is_flag=True, help="Start over, also where the folder holds a model.")
@wrap_resuming_command()
@take_options(TrainOptions)
def command(
    *,
    dataset: Path,
    out: Path | None,
    show_samples: Path | None,
    overwrite: bool,
    as_json: bool,
    options: TrainOptions,
) -> None:
    """Train a model on DATASET, a folder with a dataset.toml as geoseg prepare writes it.

    A run that was stopped, for whatever reason, continues when the same command is given again.
    Several GPUs: torchrun --nproc-per-node 4 -m geoseg train ...

    \b
    Examples:
      geoseg train data/ --out runs/roofs
      geoseg train data/ --out runs/roofs --architecture deeplabv3+ --encoder resnet101 --loss unified-focal
      geoseg train data/ --out runs/built --derived "ndvi; mndwi" --oversample auto --config train.toml
      geoseg train data/ --show-samples samples.png
    """
    with explain_missing_torch("training"):
        from geoseg.training.trainer import draw_training_patches, train_model
    if show_samples is not None:
        draw_training_patches(dataset, show_samples, options)
        print_result({"samples": str(show_samples)}, as_json, f"Samples {show_samples}")
        return
    if out is None:
        raise click.UsageError("Missing option '--out': the folder of the run.")
    from geoseg.cli.main import keep_large_buffers

    keep_large_buffers()
    finished = train_model(dataset, out, options, overwrite)
    if finished is not None:
        print_result(finished.summary, as_json, str(finished))
