"""`geoseg export`: Earth Engine imagery and labels on one exact grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.console import GroupedCommand, add_option, print_result, wrap_resuming_command
from geoseg.errors import InputError
from geoseg.options import COMPOSITES, INPUTS, LABELS, OUTPUTS, PAIRS, RESOURCES
from geoseg.progress import format_count

if TYPE_CHECKING:
    from gee.catalogue import Imagery, Label, Source
    from gee.esm import SettlementMap
    from gee.export import Export, ExportRequest
    from gee.expressions import CompositeOptions, Marking, Period
    from gee.grid import Area
    from gee.layers import Asset
    from gee.pairs import PairRule


NOTHING = "none"
ESM_PREFIX = "esm:"
ESM_ASSET_PREFIX = "esm:projects/"
DAY = click.DateTime(formats=["%Y-%m-%d"])


def print_sources(as_json: bool) -> None:
    """Print what can be exported."""
    from gee.catalogue import IMAGERY, LABELS

    kinds = {"sources": IMAGERY.values(), "labels": LABELS.values()}
    summary = {
        kind: [
            {
                "name": source.name,
                "title": source.title,
                "scale_m": source.scale_m,
                "years": format_years(source),
            }
            for source in sources
        ]
        for kind, sources in kinds.items()
    }
    print_result(summary, as_json, "\n".join(format_sources(summary)))


def format_sources(summary: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """A line for each source and label."""
    for kind, sources in summary.items():
        yield f"{kind.capitalize()}:"
        for source in sources:
            yield f"  {source['name']:24}{source['scale_m']:>5g} m  {source['years']:11}{source['title']}"


def format_years(source: Source) -> str:
    """When a source was taken."""
    last = str(source.last.year) if source.last else "now"
    return str(source.first.year) if last == str(source.first.year) else f"{source.first.year}-{last}"


@click.command("export", cls=GroupedCommand)
@add_option(
    INPUTS,
    "--aoi",
    type=click.Path(path_type=Path),
    help="Area: polygons of a vector file, FILE or FILE:LAYER.",
)
@add_option(
    INPUTS, "--bbox", metavar="W,S,E,N", help="Area: a box in degrees (W > E crosses the antimeridian)."
)
@add_option(INPUTS, "--point", metavar="LON,LAT", help="Area: a square around a point, with --size.")
@add_option(
    INPUTS, "--size", "size_m", type=float, metavar="METRES", help="Side of the square around --point."
)
@add_option(
    INPUTS, "--source", default="sentinel2", show_default=True, help="Imagery, see --list; or `none`."
)
@add_option(
    LABELS,
    "--label",
    "labels",
    multiple=True,
    help="Label, see --list; or `esm:PATH`, `esm:projects/..`; once for each.",
)
@add_option(INPUTS, "--asset", help="Any other image or image collection by its id, in place of --source.")
@add_option(INPUTS, "--bands", metavar="B2,B3,..", help="Bands of the source or asset, in this order.")
@add_option(
    INPUTS, "--start", type=DAY, metavar="YYYY-MM-DD", help="First day.  [default: 1 January of last year]"
)
@add_option(
    INPUTS,
    "--end",
    type=DAY,
    metavar="YYYY-MM-DD",
    help="Last day, included.  [default: 31 December of that year]",
)
@add_option(
    OUTPUTS,
    "--out",
    type=click.Path(path_type=Path),
    default="export",
    show_default=True,
    help="Folder for the files.",
)
@add_option(
    COMPOSITES,
    "--composite",
    help="median, least-cloudy, latest, or p1 to p99.  [default: median; photos: latest]",
)
@add_option(
    COMPOSITES,
    "--mask",
    metavar="METHOD[:T]",
    help="How clouds are removed: csplus[:0.6], scl, s2cloudless[:40] or none.",
)
@add_option(
    COMPOSITES,
    "--max-cloud",
    type=float,
    metavar="PERCENT",
    help="Leave out scenes with more than this many percent of cloud.",
)
@add_option(
    COMPOSITES,
    "--bilinear",
    is_flag=True,
    help="Resample each scene bilinearly rather than by the nearest pixel.",
)
@add_option(OUTPUTS, "--looks", is_flag=True, help="Also write how many clear observations each pixel has.")
@add_option(
    LABELS,
    "--label-values",
    type=click.Choice(["mask", "own"]),
    default="mask",
    show_default=True,
    help="Labels as 0/1 masks of buildings, or in their own values.",
)
@add_option(
    LABELS,
    "--built-from",
    type=float,
    default=50.0,
    show_default=True,
    metavar="PERCENT",
    help="Share of a pixel from which a mask says built.",
)
@add_option(
    LABELS,
    "--esm-codes",
    default="nodata=0 other=1 built=250,255",
    show_default=True,
    help="What the codes of ESM files mean.",
)
@add_option(OUTPUTS, "--crs", help="CRS of the grid, such as EPSG:3035.  [default: the UTM zone of the area]")
@add_option(
    OUTPUTS,
    "--scale",
    "scale_m",
    type=float,
    metavar="METRES",
    help="Pixel size.  [default: the source's own]",
)
@add_option(
    OUTPUTS, "--split-zones", is_flag=True, help="One export for each UTM zone, in a folder of its own."
)
@add_option(
    OUTPUTS,
    "--via",
    type=click.Choice(["direct", "drive", "gcs", "asset"]),
    default="direct",
    show_default=True,
    help="Fetch tile by tile, or let Earth Engine export to Drive, Cloud Storage or an asset.",
)
@add_option(OUTPUTS, "--to", default="", help="Drive folder, bucket[/folder], or asset folder for --via.")
@add_option(
    PAIRS,
    "--pairs",
    type=int,
    metavar="N",
    help="Write N image/label chips for training instead of whole layers.",
)
@add_option(
    PAIRS, "--chip", type=int, default=300, show_default=True, metavar="PIXELS", help="Side of a chip."
)
@add_option(
    PAIRS, "--built", default="17,85", show_default=True, metavar="LOW,HIGH", help="Percent built in a chip."
)
@add_option(
    PAIRS,
    "--validation",
    type=float,
    default=20.0,
    show_default=True,
    metavar="PERCENT",
    help="Pairs kept for validation, from places of their own.",
)
@add_option(
    PAIRS, "--seed", type=int, default=0, show_default=True, help="The same seed draws the same pairs."
)
@add_option(
    RESOURCES,
    "--project",
    default="",
    help="Google Cloud project.  [default: EE_PROJECT_ID, or the credentials' own]",
)
@add_option(
    RESOURCES,
    "--credentials",
    type=click.Path(path_type=Path),
    help="Key file of a service account, or an authorized_user file.",
)
@add_option(
    RESOURCES,
    "--endpoint",
    default="",
    metavar="URL",
    help="standard, high-volume, or a URL.  [env: GEOSEG_EE_URL]",
)
@add_option(
    RESOURCES, "--workers", type=int, default=8, show_default=True, help="Requests at a time, at most 40."
)
@add_option(
    RESOURCES,
    "--deadline",
    "hours",
    type=float,
    default=12.0,
    show_default=True,
    metavar="HOURS",
    help="Give up after this many hours.",
)
@add_option(
    RESOURCES,
    "--tile",
    type=int,
    metavar="PIXELS",
    help="Largest side of a tile, or of a file of a batch task.  [default: 1024 for composites, 8192 for tasks]",
)
@add_option(OUTPUTS, "--overwrite", is_flag=True, help="Replace files that were made with other settings.")
@add_option(
    OUTPUTS, "--dry-run", is_flag=True, help="Show what it would take (tiles, bytes, requests), and stop."
)
@add_option(
    INPUTS,
    "--list",
    "list_sources",
    is_flag=True,
    help="List sources and labels, and exit.",
)
@wrap_resuming_command()
def command(as_json: bool, dry_run: bool, list_sources: bool, **options: Any) -> None:
    """Export imagery and labels from Earth Engine on one exact grid.

    Writes one cloud-optimised GeoTIFF for each layer, with a STAC record beside it. Any area works: it is fetched
    tile by tile within Earth Engine's limits, and a stopped export goes on where it was when the same command is
    given again.

    \b
    Examples:
      geoseg export --aoi region.geojson --label ghsl --start 2023-05-01 --end 2023-09-30 --out region
      geoseg export --point 13.386,52.508 --size 1000 --source brandenburg --out berlin
      geoseg export --aoi region.geojson --label esm:ESM_FOLDER --pairs 700 --out pairs
    """
    if list_sources:
        print_sources(as_json)
        return
    from gee.export import estimate_exports, run_exports
    from gee.pairs import estimate_pairs, export_pairs

    request = make_request(options)
    exports = plan_exports(options, request)
    if options["pairs"] is not None:
        rule, pair = make_pair_rule(options), estimate_pairs if dry_run else export_pairs
        summary = {"exports": [pair(export, request, rule) for export in exports]}
        if not dry_run:
            describe_data_sets(exports)
    else:
        summary = (estimate_exports if dry_run else run_exports)(exports, request)
    print_result(summary, as_json, format_summary(summary))


def describe_data_sets(exports: Sequence[Export]) -> None:
    """Make data sets of exported pairs, so that `geoseg train` takes them as they are."""
    from geoseg.datasets.exported import describe_pairs

    for export in exports:
        describe_pairs(export.out)


def make_request(options: dict[str, Any]) -> ExportRequest:
    """What the options ask for."""
    from gee.export import ExportRequest, find_imagery
    from gee.expressions import Marking

    has_source = not options["asset"] and options["source"] != NOTHING
    source = find_imagery(options["source"]) if has_source else None
    period = choose_period(options["start"], options["end"], source)
    marking = Marking(options["label_values"] == "mask", options["built_from"] / 100)
    files, names = split_labels(options["labels"])
    request = ExportRequest(
        period=period,
        source=source,
        look=make_composite_options(options, source, period) if source else None,
        labels=tuple(map(choose_label, names)),
        marking=marking,
        settlement=make_settlement_map(files, options["esm_codes"], marking),
        asset=make_asset(options, period) if options["asset"] else None,
        counts_looks=options["looks"],
        given_scale_m=options["scale_m"],
    )
    if not (request.needs_earth_engine or request.settlement):
        raise InputError("nothing to export: give a --source, a --label or an --asset")
    return request


def choose_period(start: datetime | None, end: datetime | None, source: Imagery | None) -> Period:
    """The days asked for; else all that photographs have, or the last whole year of what goes on."""
    from gee.expressions import Period

    year = date.today().year - 1
    first, last = date(year, 1, 1), date(year, 12, 31)
    if source is not None and not source.is_cloudy:
        first, last = source.first, source.last or last
    return Period(start.date() if start else first, end.date() if end else last)


def make_composite_options(options: dict[str, Any], source: Imagery, period: Period) -> CompositeOptions:
    """How the scenes become one image."""
    from gee.expressions import CloudMask, CompositeOptions

    return CompositeOptions(
        bands=source.chosen(split_names(options["bands"]) or source.default_bands),
        period=period,
        clouds=CloudMask.parse(options["mask"] or source.clouds[0]),
        composite=options["composite"] or ("median" if source.is_cloudy else "latest"),
        most_cloud_cover=options["max_cloud"],
        bilinear=options["bilinear"],
    )


def split_names(text: str | None) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def split_labels(labels: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Labels in files of one's own, and labels of Earth Engine."""
    own = [
        label for label in labels if label.startswith(ESM_PREFIX) and not label.startswith(ESM_ASSET_PREFIX)
    ]
    return [Path(label.removeprefix(ESM_PREFIX)) for label in own], [
        label for label in labels if label not in own
    ]


def choose_label(name: str) -> Label:
    """A label by name, or a settlement map among one's own assets."""
    from gee.catalogue import ESM
    from gee.export import find_label

    if name.startswith(ESM_ASSET_PREFIX):
        return replace(ESM, asset=name.removeprefix(ESM_PREFIX))
    if name == ESM.name:
        raise InputError(
            "the European Settlement Map is not in the catalogue of Earth Engine: give its files, --label esm:FOLDER, or "
            "your own asset, --label esm:projects/YOUR-PROJECT/assets/NAME"
        )
    return find_label(name)


def make_settlement_map(paths: list[Path], codes: str, marking: Marking) -> SettlementMap | None:
    """The settlement map in files, if one is asked for."""
    from gee.esm import Legend, SettlementMap

    if len(paths) > 1:
        raise InputError("give --label esm:PATH once; a folder may hold several tiles")
    return SettlementMap(paths[0], Legend.parse(codes), marking) if paths else None


def make_asset(options: dict[str, Any], period: Period) -> Asset:
    """Any other asset; dates choose among its images only where they were given."""
    from gee.layers import Asset

    days = period if options["start"] or options["end"] else None
    return Asset(options["asset"], split_names(options["bands"]), days)


def choose_area(options: dict[str, Any]) -> Area:
    """The one area that the options name."""
    from gee.grid import make_box_area, make_square_area, read_area

    ways = [way for way in ("aoi", "bbox", "point") if options[way]]
    if len(ways) != 1:
        raise InputError(
            "give the area once: --aoi FILE, --bbox W,S,E,N or --point LON,LAT with --size METRES"
        )
    if options["size_m"] is not None and not options["point"]:
        raise InputError(f"--size {options['size_m']:g} is the side of a square around --point; give that")
    if options["aoi"]:
        return read_area(options["aoi"])
    if options["bbox"]:
        west, south, east, north = parse_numbers("--bbox", options["bbox"], 4)
        return make_box_area(west, south, east, north)
    if options["size_m"] is None:
        raise InputError("--point needs --size METRES, the side of the square around it")
    lon, lat = parse_numbers("--point", options["point"], 2)
    return make_square_area(lon, lat, options["size_m"])


def parse_numbers(option: str, text: str, count: int) -> list[float]:
    """Numbers between commas, as many as there must be."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(isfinite, values)):
        raise InputError(f"{option} {text} must be {count} numbers with commas between them")
    return values


def plan_exports(options: dict[str, Any], request: ExportRequest) -> list[Export]:
    """One grid over the area, or one for each of its zones."""
    from gee.batch import Destination
    from gee.export import Export, TransferOptions
    from gee.grid import choose_crs, make_lattice, parse_export_crs
    from gee.session import Access

    area = choose_area(options)
    access = Access(options["endpoint"], options["project"], options["credentials"], options["via"])
    transfer = TransferOptions(
        access,
        Destination(options["via"], options["to"]),
        options["workers"],
        options["hours"],
        options["overwrite"],
        options["tile"],
    )
    areas = list(area.zones.values()) if options["split_zones"] else [area]
    exports = []
    for part in areas:
        crs = parse_export_crs(options["crs"]) if options["crs"] else choose_crs(part)
        grid = make_lattice(crs, request.scale_m, request.lattice_m).grid(part.within(crs))
        folder = options["out"] / part.name.replace(":", "_") if options["split_zones"] else options["out"]
        exports.append(Export(part, grid, folder, transfer))
    return exports


def make_pair_rule(options: dict[str, Any]) -> PairRule:
    """Which chips are wanted."""
    from gee.pairs import PairRule

    least, most = parse_numbers("--built", options["built"], 2)
    return PairRule(
        count=options["pairs"],
        seed=options["seed"],
        side=options["chip"],
        least_built=least / 100,
        most_built=most / 100,
        validation=options["validation"] / 100,
    )


def format_summary(summary: dict[str, Any]) -> str:
    """The outcome, for people."""
    lines = []
    for export in summary["exports"]:
        lines.append(f"{export['width']} x {export['height']} pixels in {export['crs']}, {export['out']}:")
        lines += [f"  {format_layer(layer)}" for layer in export.get("layers", ())]
        if "pairs" in export:
            lines.append(
                f"  pairs: {export['pairs']['train']} train, {export['pairs']['validation']} validation; "
                f"geoseg train {export['out']} learns from them"
            )
    return "\n".join(lines)


def format_layer(layer: dict[str, Any]) -> str:
    """What became of one layer, or will."""
    if "bytes" in layer:
        tiles = f"{format_count(layer['tiles'], 'tile')} of up to {layer['tile_side']} px"
        size = f"{tiles}, {format_count(layer['requests'], 'request')}, {layer['bytes'] / 1e6:,.1f} MB"
        return f"{layer['layer']}: {', '.join(layer['bands'])} ({layer['dtype']}), {size}"
    return f"{layer['layer']}: {layer.get('path') or layer['where']}"
