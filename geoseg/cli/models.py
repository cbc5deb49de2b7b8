"""`geoseg models`: which models there are, what their cards say, and how to take them elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli import console
from geoseg.narrator import Narrator

if TYPE_CHECKING:
    from geoseg.model.card import Card
    from geoseg.model.folder import Model

SCALINGS = {
    "never": "{low:g} to {high:g} becomes 0 to 1",
    "when-foreign": "{low:g} to {high:g} becomes 0 to 1; in a scene that is not on that scale, its {ends} percentiles do",
    "always": "the scene's own {ends} percentiles become 0 to 1",
}


@click.group("models")
def command() -> None:
    """List models, show what a model expects, export it as ONNX."""


@command.command("list")
@console.command
def list_models(*, narrator: Narrator, as_json: bool) -> None:
    """List the built-in models, one a line."""
    from geoseg.model.folder import builtin_names, find_model

    models = [find_model(name) for name in builtin_names()]
    console.result({"models": [overview(model) for model in models]}, as_json, table(models))


@command.command("show")
@click.argument("model")
@console.command
def show(*, model: str, narrator: Narrator, as_json: bool) -> None:
    """Show a model's card: what it is for, what it expects of a scene, and what is known about it.

    MODEL is a built-in name, a folder, an .onnx file or a hub name. --json gives the card as card.json has it.
    """
    from geoseg.model.folder import find_model

    card = find_model(model).card
    console.result(json.loads(card.to_json()), as_json, "\n".join(page(card)))


@command.command("export")
@click.argument("model")
@click.option("--to", "out", type=click.Path(path_type=Path), required=True, help="The .onnx file to write.")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@console.command
def export(*, model: str, out: Path, overwrite: bool, narrator: Narrator, as_json: bool) -> None:
    """Write MODEL as an ONNX file that geoseg and the QGIS plugin Deepness run.

    The file is checked against the model before it gets its name. The card travels inside.

    \b
    Example:
      geoseg models export default --to buildings.onnx
    """
    from geoseg.model.folder import find_model
    from geoseg.model.onnx_export import export_onnx

    found = find_model(model)
    difference = export_onnx(found, out, overwrite)
    narrator.say(f"Checked {out}: its probabilities differ from the model's by {difference:.1g} at most")
    summary = {"model": found.card.name, "onnx": str(out), "largest_difference": difference}
    console.result(summary, as_json, str(out))


def overview(model: Model) -> dict[str, Any]:
    """What the list tells about a model."""
    return {
        "name": model.name,
        "gsd_m": model.card.gsd_m,
        "classes": [entry.name for entry in model.card.classes[1:]],
        "licence": model.card.licence,
        "size_mb": round(model.weights.stat().st_size / 1e6, 1),
    }


def table(models: list[Model]) -> str:
    rows = [
        (
            row["name"],
            f"{row['gsd_m']:g} m",
            ", ".join(row["classes"]),
            row["licence"] or "-",
            f"{row['size_mb']:g} MB",
        )
        for row in map(overview, models)
    ]
    columns = list(zip(("model", "pixels", "classes", "licence", "size"), *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    )


def page(card: Card) -> Iterator[str]:
    """A card for a person, line by line."""
    finest, coarsest = card.gsd_range_m
    yield click.style(card.name, bold=True)
    if card.description:
        yield card.description
    yield ""
    yield entry("Bands", ", ".join(card.bands))
    yield entry("Resolution", f"{card.gsd_m:g} m a pixel; tolerates {finest:g} to {coarsest:g} m")
    yield entry("Patch", f"{card.patch} x {card.patch} pixels")
    yield from classes(card)
    if card.activation == "sigmoid":
        yield entry("Threshold", f"{card.threshold:g}")
    yield entry("Minimum area", f"{card.min_area_m2:g} m²")
    yield from scaling(card)
    yield entry("Licence", card.licence or "not stated")
    for number, source in enumerate(card.sources):
        yield entry("" if number else "Sources", flat(source))
    for number, failure in enumerate(card.known_failures):
        yield entry("" if number else "Known to fail", failure)
    for title, facts in (
        ("Metrics", card.metrics),
        ("Calibration", card.calibration),
        ("Training", card.training),
    ):
        for number, (name, value) in enumerate(facts.items()):
            yield entry("" if number else title, f"{name}: {shown(value)}")
    yield entry("SHA-256", card.weights_sha256 or "not stated")


def entry(title: str, text: str) -> str:
    return f"{title:14}{text}"


def classes(card: Card) -> Iterator[str]:
    for value, land in enumerate(card.classes):
        swatch = click.style("  ", bg=land.rgb)
        yield entry("" if value else "Classes", f"{value}  {swatch} {land.color}  {land.name}")


def scaling(card: Card) -> Iterator[str]:
    scale = card.scaling
    ends = " to ".join(f"{percentile:g}" for percentile in scale.percentiles)
    yield entry("Scaling", SCALINGS[scale.stretch].format(low=scale.low, high=scale.high, ends=ends))
    yield entry("", f"mean {shown(scale.mean)}, std {shown(scale.std)}")


def flat(facts: Mapping[str, Any]) -> str:
    return "; ".join(
        shown(value) if name == "name" else f"{name}: {shown(value)}" for name, value in facts.items()
    )


def shown(value: object) -> str:
    """A value of a card as a person reads it."""
    if isinstance(value, Mapping):
        return flat(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
