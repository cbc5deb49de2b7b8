"""`geoseg models`: which models there are, what their cards say, and their export as ONNX."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.console import CommandGroup, GroupedCommand, add_option, print_result, wrap_command
from geoseg.errors import explain_missing_torch
from geoseg.options import OUTPUTS

if TYPE_CHECKING:
    from geoseg.models.card import Card
    from geoseg.models.store import Model

log = logging.getLogger(__name__)


SCALINGS = {
    "never": "{low:g} to {high:g} becomes 0 to 1",
    "when-foreign": "{low:g} to {high:g} becomes 0 to 1; in a scene that is not on that scale, its {ends} percentiles do",
    "always": "the scene's own {ends} percentiles become 0 to 1",
}


@click.group("models", cls=CommandGroup)
def command() -> None:
    """List models, show what a model expects, export it as ONNX.

    \b
    Examples:
      geoseg models list
      geoseg models show default
    """


@command.command("list", cls=GroupedCommand)
@wrap_command
def list_models(*, as_json: bool) -> None:
    """List the built-in models, one a line.

    \b
    Examples:
      geoseg models list
      geoseg models list --json
    """
    from geoseg.models.store import find_model, list_builtin_models

    models = [find_model(name) for name in list_builtin_models()]
    print_result({"models": [summarize_model(model) for model in models]}, as_json, format_models(models))


@command.command("show", cls=GroupedCommand)
@click.argument("model")
@wrap_command
def show_model(*, model: str, as_json: bool) -> None:
    """Show a model's card: what it is for, what it expects of a scene, and what is known about it.

    MODEL is a built-in name, a folder, an .onnx file, or owner/model on the Hugging Face hub. --json prints the card as it is
    in card.json.

    \b
    Examples:
      geoseg models show default
      geoseg models show runs/roofs --json
    """
    from geoseg.models.store import find_model

    card = find_model(model).card
    print_result(json.loads(card.to_json()), as_json, "\n".join(format_card(card)))


@command.command("export", cls=GroupedCommand)
@click.argument("model")
@add_option(
    OUTPUTS, "--to", "out", type=click.Path(path_type=Path), required=True, help="The .onnx file to write."
)
@add_option(OUTPUTS, "--overwrite", is_flag=True, help="Replace a file that exists.")
@wrap_command
def export_model(*, model: str, out: Path, overwrite: bool, as_json: bool) -> None:
    """Write MODEL as an ONNX file that geoseg and the QGIS plugin Deepness run.

    The file is checked against the model before it gets its name. It holds the card, too.

    \b
    Examples:
      geoseg models export default --to buildings.onnx
      geoseg models export runs/roofs --to roofs.onnx --overwrite
    """
    from geoseg.models.store import find_model

    found = find_model(model)
    with explain_missing_torch(f"writing {out}"):
        from geoseg.models.export import export_onnx
    difference = export_onnx(found, out, overwrite)
    log.info(f"Checked {out}: its probabilities differ from the model's by {difference:.1g} at most")
    summary = {"model": found.card.name, "onnx": str(out), "largest_difference": difference}
    print_result(summary, as_json, str(out))


def summarize_model(model: Model) -> dict[str, Any]:
    """What the list tells about a model."""
    return {
        "name": model.name,
        "gsd_m": model.card.gsd_m,
        "classes": [entry.name for entry in model.card.classes[1:]],
        "licence": model.card.licence,
        "size_mb": round(model.weights.stat().st_size / 1e6, 1),
    }


def format_models(models: list[Model]) -> str:
    rows = [
        (
            row["name"],
            f"{row['gsd_m']:g} m",
            ", ".join(row["classes"]),
            row["licence"] or "-",
            f"{row['size_mb']:g} MB",
        )
        for row in map(summarize_model, models)
    ]
    columns = list(zip(("model", "pixels", "classes", "licence", "size"), *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    )


def format_card(card: Card) -> Iterator[str]:
    """A card for a person, line by line."""
    finest, coarsest = card.gsd_range_m
    yield click.style(card.name, bold=True)
    if card.description:
        yield card.description
    yield ""
    yield format_entry("Bands", ", ".join(card.bands))
    yield format_entry("Resolution", f"{card.gsd_m:g} m a pixel; tolerates {finest:g} to {coarsest:g} m")
    yield format_entry("Patch", f"{card.patch} x {card.patch} pixels")
    yield from format_classes(card)
    if card.activation == "sigmoid":
        yield format_entry("Threshold", f"{card.threshold:g}")
    yield format_entry("Minimum area", f"{card.min_area_m2:g} m²")
    yield from format_scaling(card)
    yield format_entry("Licence", card.licence or "not stated")
    for number, source in enumerate(card.sources):
        yield format_entry("" if number else "Sources", format_facts(source))
    for number, failure in enumerate(card.known_failures):
        yield format_entry("" if number else "Known to fail", failure)
    for title, facts in (
        ("Metrics", card.metrics),
        ("Calibration", card.calibration),
        ("Training", card.training),
    ):
        for number, line in enumerate(format_table(facts)):
            yield format_entry("" if number else title, line)
    yield format_entry("SHA-256", card.weights_sha256 or "not stated")


def format_entry(title: str, text: str) -> str:
    return f"{title:14}{text}"


def format_classes(card: Card) -> Iterator[str]:
    for value, land in enumerate(card.classes):
        swatch = click.style("  ", bg=land.rgb)
        yield format_entry("" if value else "Classes", f"{value}  {swatch} {land.color}  {land.name}")


def format_scaling(card: Card) -> Iterator[str]:
    scale = card.scaling
    ends = " to ".join(f"{percentile:g}" for percentile in scale.percentiles)
    yield format_entry("Scaling", SCALINGS[scale.stretch].format(low=scale.low, high=scale.high, ends=ends))
    yield format_entry("", f"mean {format_value(scale.mean)}, std {format_value(scale.std)}")


def format_table(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Facts, a line each; below the name of one that holds tables of its own stand these, indented."""
    for name, value in facts.items():
        if isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values()):
            yield f"{indent}{name}"
            yield from format_table(value, indent + "  ")
        else:
            yield f"{indent}{name}: {format_value(value)}"


def format_facts(facts: Mapping[str, Any]) -> str:
    return "; ".join(
        format_value(value) if name == "name" else f"{name}: {format_value(value)}"
        for name, value in facts.items()
    )


def format_value(value: object) -> str:
    """A value of a card as a person reads it."""
    if isinstance(value, Mapping):
        return format_facts(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
