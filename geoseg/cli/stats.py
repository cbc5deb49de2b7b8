"""`geoseg stats`: buildings and areas per region."""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli.console import print_result, wrap_command

MOST_ROWS = 20


@click.command("stats")
@click.argument("footprints", type=click.Path(path_type=Path))
@click.option(
    "--regions",
    required=True,
    metavar="FILE[:LAYER]|grid:1km",
    help="Polygons to count in, or squares of a grid.",
)
@click.option("--region-id", metavar="COLUMN", help="The column that names a region.")
@click.option(
    "--probability", type=click.Path(path_type=Path), help="The model's probability: gives the expected area."
)
@click.option(
    "--mask", type=click.Path(path_type=Path), help="The model's mask: gives the area that was seen."
)
@click.option("--area-crs", default="auto", show_default=True, help="CRS in which areas are measured.")
@click.option("--csv", type=click.Path(path_type=Path), help="Write the table here, too.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier layer of regions, and the CSV file.")
@wrap_command
def command(
    *,
    footprints: Path,
    regions: str,
    region_id: str | None,
    probability: Path | None,
    mask: Path | None,
    area_crs: str,
    csv: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Count FOOTPRINTS per region, in true square metres.

    The table becomes the layer `regions` of the GeoPackage (a file beside it for other formats). One row per region and
    class: buildings, built area, seen area, share, sizes, confidence, expected area.
    """
    from geoseg.regions.files import StatsOptions, write_statistics

    question = StatsOptions(footprints, regions, region_id, mask, probability, area_crs)
    table = write_statistics(question, csv, overwrite)
    rows = table.drop(columns=table.geometry.name).astype(object).where(table.notna(), None)
    summary = {
        "regions": int(table["region"].nunique()),
        "buildings": int(table["buildings"].sum()),
        "built_area_m2": float(table["built_area_m2"].sum()),
        "rows": rows.to_dict("records"),
    }
    print_result(summary, as_json, format_table(summary))


def format_table(summary: dict[str, object]) -> str:
    """A short table for people."""
    rows = summary["rows"]
    assert isinstance(rows, list)
    heading = f"{'region':24} {'class':16} {'buildings':>10} {'built m²':>14} {'share':>8}"
    listed = [
        f"{row['region']!s:24.24} {row['class']:16.16} {row['buildings']:10,} {row['built_area_m2']:14,.0f} "
        + ("       -" if row["share"] is None else f"{row['share']:8.1%}")
        for row in rows[:MOST_ROWS]
    ]
    more = [f"... and {len(rows) - MOST_ROWS} more rows"] if len(rows) > MOST_ROWS else []
    return "\n".join([heading, *listed, *more])
