"""What can be asked of the main commands: from a scene or a mask to footprints, and from footprints to statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geoseg.cluster.options import ShardOptions, WorkerOptions
from geoseg.inference.options import PredictOptions
from geoseg.options import (
    ABOVE_ZERO,
    AT_LEAST_ONE,
    BETWEEN_ZERO_AND_ONE,
    FINITE,
    FOOTPRINTS,
    INPUTS,
    OUTPUTS,
    REGIONS,
    RESOURCES,
    SAMPLES,
    ZERO_OR_MORE,
    Options,
    define_option,
)


def define_region_id() -> Any:
    """The column of regions, the same in every command that takes some."""
    return define_option(None, "The column that names a region.", group=REGIONS, metavar="COLUMN")


@dataclass(frozen=True, kw_only=True)
class FootprintOptions(Options):
    """How a mask becomes footprints; the defaults suit most people."""

    min_area_m2: float | None = define_option(
        None,
        "Leave out footprints smaller than this many true square metres; 0 keeps all.  [default: 5, or that of the model that is run]",
        ZERO_OR_MORE,
        group=FOOTPRINTS,
        metavar="M2",
    )
    max_hole_m2: float = define_option(
        2.0,
        "Fill holes up to this many square metres. Holes of the minimum area and more always stay: they may hold a building.",
        ZERO_OR_MORE,
        group=FOOTPRINTS,
        metavar="M2",
    )
    regularize: bool | None = define_option(
        None,
        "Straight walls and right angles; shared walls stay shared.  [default: on for pixels finer than 1 m]",
        group=FOOTPRINTS,
        flags=("--regularize/--no-regularize",),
    )
    simplify_m: float = define_option(
        0.0,
        "Leave out details of outlines up to this many metres across; neighbours keep their shared walls.",
        ZERO_OR_MORE,
        group=FOOTPRINTS,
        metavar="M",
    )
    split: Literal["auto", "touching", "none"] = define_option(
        "auto",
        "Separate buildings that touch. auto: where the model sees that one ends, if it can see that; touching: at necks of the "
        "shape and where the probability dips; none: keep them in one piece.",
        group=FOOTPRINTS,
        flags=("--split", "--no-split=none"),
    )
    connectivity: Literal[4, 8] = define_option(
        4, "4: one building is joined by the sides of pixels; 8: by corners, too.", group=FOOTPRINTS
    )
    crs: str | None = define_option(
        None, "CRS of the footprints, e.g. EPSG:4326.  [default: the raster's]", group=FOOTPRINTS
    )
    area_crs: str = define_option(
        "auto",
        "Projected CRS in which areas are measured; auto: an equal-area one centred on the data.",
        group=FOOTPRINTS,
    )
    regions: str | None = define_option(
        None,
        "Count per region as well: a vector file, or squares of a grid; becomes the layer `regions`.",
        group=REGIONS,
        metavar="FILE[:LAYER]|grid:1km",
    )
    region_id: str | None = define_region_id()
    qgis_project: Path | None = define_option(
        None,
        "Write a QGIS project that opens footprints, regions and rasters together.",
        group=OUTPUTS,
        metavar="FILE.qgz",
    )
    overwrite: bool = define_option(False, "Replace outputs that exist.", group=OUTPUTS)


@dataclass(frozen=True, kw_only=True)
class InferOptions(PredictOptions, FootprintOptions, ShardOptions):
    """What can be asked of `infer`."""

    mask: Path | None = define_option(
        None,
        "Write the class of each pixel to this GeoTIFF, or to a PNG of the image's size.",
        group=OUTPUTS,
        metavar="FILE.tif|.png",
    )
    mask_from: Literal["pixels", "footprints"] = define_option(
        "pixels",
        "What the mask holds: the class of each pixel, or the footprints as they are written, cleaned and straight.",
        group=OUTPUTS,
    )
    probability: Path | None = define_option(
        None, "Write probabilities to this GeoTIFF.", group=OUTPUTS, metavar="FILE.tif"
    )
    report: Path | None = define_option(
        None,
        "Write an HTML page with a map, tables and charts of the footprints.",
        group=OUTPUTS,
        metavar="FILE.html",
    )
    against: str | None = define_option(
        None,
        "Compare with these footprints, e.g. of OpenStreetMap, and write what became of each building as the layer `changes`: "
        "these are A, those of the scene are B.",
        group=OUTPUTS,
        metavar="FILE[:LAYER]",
    )
    all_outputs: Path | None = define_option(
        None,
        "Write every output of the model to this GeoTIFF: probabilities, then boundary and distance where it has them.",
        group=OUTPUTS,
        metavar="FILE.tif",
    )
    coco: Path | None = define_option(
        None,
        "Write the footprints of many scenes to one COCO file as well, in pixels.",
        group=OUTPUTS,
        metavar="FILE.json",
    )
    coco_images: Path | None = define_option(
        None,
        "Give the COCO results the image and category numbers of this COCO file: a list, as scoring programs want it.",
        group=OUTPUTS,
        metavar="FILE.json",
    )


@dataclass(frozen=True, kw_only=True)
class VectorizeOptions(FootprintOptions, ShardOptions):
    """What can be asked of `vectorize`."""

    probability: str | None = define_option(
        None,
        "The probability raster of the model, in the same pixels as the mask: gives each footprint its confidence.",
        group=INPUTS,
        metavar="FILE",
    )
    threshold: float | None = define_option(
        None,
        "The mask holds probabilities or heights: pixels from this value on are building.",
        FINITE,
        group=INPUTS,
    )
    band: int | None = define_option(
        None, "Which band of the mask to read, where it has several.", group=INPUTS
    )
    classes: tuple[str, ...] = define_option(
        (),
        "What a value of the mask is called, e.g. 2=industrial; once for each.  [default: 1=building]",
        group=INPUTS,
        flags=("--class",),
        metavar="VALUE=NAME",
    )
    assume_crs: str | None = define_option(
        None, "CRS of a mask that does not say it, or says a wrong one.", group=INPUTS, metavar="CRS"
    )
    gsd_m: float | None = define_option(
        None,
        "Size of the pixels of a mask without a place, in metres.  [default: sizes in pixels]",
        ABOVE_ZERO,
        group=INPUTS,
        metavar="M",
    )
    date: str | None = define_option(
        None,
        "When the image was taken: a day such as 2026-05-04, or the first and the last: 2026-05-04/2026-05-06.  "
        "[default: what the tags of the mask say]",
        group=INPUTS,
        metavar="DATE",
    )
    image: str | None = define_option(
        None, "The image to show below the footprints in the QGIS project.", group=INPUTS, metavar="FILE"
    )
    strip_rows: int | None = define_option(
        None,
        "Rows that are read at a time; changes memory, never the result.",
        AT_LEAST_ONE,
        group=RESOURCES,
        flags=("--strip", "--strip-rows"),
        metavar="ROWS",
    )
    workers: int | None = define_option(
        None,
        "Worker processes on this machine; 0 does all in one.  [default: chosen by the size of the mask and the computer]",
        ZERO_OR_MORE,
        group=RESOURCES,
        metavar="N",
    )


def looks_at_outputs(options: InferOptions | VectorizeOptions) -> bool:
    """Whether a command looks at what it is to write. Hundreds of shares leave what is to be replaced to the last command."""
    return not (options.shard and options.overwrite)


@dataclass(frozen=True, kw_only=True)
class StatsOptions(WorkerOptions):
    """What can be asked of `stats`."""

    region_id: str | None = define_region_id()
    probability: Path | None = define_option(
        None, "The probability raster of the model: gives the expected area.", group=INPUTS, metavar="FILE"
    )
    mask: Path | None = define_option(
        None, "The mask of the model: gives the area that was seen.", group=INPUTS, metavar="FILE"
    )
    area_crs: str = define_option(
        "auto",
        "Projected CRS in which areas are measured; auto: an equal-area one centred on the data.",
        group=REGIONS,
        metavar="CRS",
    )
    csv: Path | None = define_option(None, "Write the table here, too.", group=OUTPUTS, metavar="FILE.csv")
    samples: Path | None = define_option(
        None,
        "Points or squares of `geoseg sample`, answered: gives error-adjusted areas and numbers with 95 % intervals.",
        group=INPUTS,
        metavar="FILE",
    )
    overwrite: bool = define_option(
        False, "Replace an earlier layer of regions, and the CSV file.", group=OUTPUTS
    )


@dataclass(frozen=True, kw_only=True)
class SampleOptions(Options):
    """What can be asked of `sample`."""

    mask: Path | None = define_option(
        None, "The mask of the model: says which ground was seen.", group=INPUTS, metavar="FILE"
    )
    probability: Path | None = define_option(
        None,
        "The probability raster of the model: ground of which the model is unsure becomes strata of its own.",
        group=INPUTS,
        metavar="FILE",
    )
    image: str | None = define_option(
        None, "The image to show below the points in the QGIS project.", group=INPUTS, metavar="FILE"
    )
    points: int | None = define_option(
        None,
        "How many points to draw.  [default: 300, or as many as the half width needs; none with squares alone]",
        AT_LEAST_ONE,
        group=SAMPLES,
        metavar="N",
    )
    half_width: str | None = define_option(
        None,
        "Draw as many points as it takes for an interval of the built area this wide on each side, e.g. 5%.",
        group=SAMPLES,
        metavar="PERCENT",
    )
    squares: int | None = define_option(
        None,
        "How many squares to draw, in which a person marks every building: gives the number of buildings.",
        AT_LEAST_ONE,
        group=SAMPLES,
        metavar="N",
    )
    side_m: float = define_option(
        50.0, "Side of the squares in metres.", ABOVE_ZERO, group=SAMPLES, metavar="M"
    )
    seed: int = define_option(
        1, "The same seed draws the same points and squares.", ZERO_OR_MORE, group=SAMPLES, metavar="N"
    )
    regions: str | None = define_option(
        None,
        "Draw points in each of these regions, so that each has its own: a vector file, or squares of a grid.",
        group=REGIONS,
        metavar="FILE[:LAYER]|grid:1km",
    )
    region_id: str | None = define_region_id()
    qgis_project: Path | None = define_option(
        None,
        "Write a QGIS project with the points and squares still to do, a bookmark for each, and the image.",
        group=OUTPUTS,
        metavar="FILE.qgz",
    )
    overwrite: bool = define_option(
        False, "Replace outputs that exist; the answers in them are lost.", group=OUTPUTS
    )


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Options):
    """What can be asked of `compare`."""

    area: tuple[str, ...] = define_option(
        (),
        "Ground to compare on: polygons, or a mask whose known pixels count; with several, the ground that all share.  "
        "[default: the rectangle in which both have footprints]",
        group=INPUTS,
        metavar="FILE",
    )
    samples_a: Path | None = define_option(
        None,
        "Points of `geoseg sample` as they were answered for A's date; with --samples-b, the change has an interval.",
        group=INPUTS,
        metavar="POINTS",
    )
    samples_b: Path | None = define_option(
        None, "A copy of the same points, answered for B's date.", group=INPUTS, metavar="POINTS"
    )
    same_iou: float = define_option(
        0.5,
        "Overlap (IoU) from which two outlines are the same, unchanged building. Higher values also find extensions, if "
        "both layers are drawn in the same way.",
        BETWEEN_ZERO_AND_ONE,
        group=FOOTPRINTS,
        metavar="IOU",
    )
    shift: bool = define_option(
        True,
        "Remove the shift that B as a whole has against A; it is reported in any case.  [default: on]",
        group=FOOTPRINTS,
        flags=("--shift/--no-shift",),
    )
    regions: str | None = define_option(
        None,
        "Count changes per region; becomes the layer `changes_by_region`.",
        group=REGIONS,
        metavar="FILE[:LAYER]|grid:1km",
    )
    region_id: str | None = define_region_id()
    csv: Path | None = define_option(
        None, "Write the table per region here, too.", group=OUTPUTS, metavar="FILE.csv"
    )
    qgis_project: Path | None = define_option(
        None, "Write a QGIS project of the changes over A and B.", group=OUTPUTS, metavar="FILE.qgz"
    )
    overwrite: bool = define_option(False, "Replace outputs that exist.", group=OUTPUTS)


@dataclass(frozen=True, kw_only=True)
class PublishOptions(Options):
    """What can be asked of `publish`."""

    partition: str | None = define_option(
        None,
        "A file for each tile of the web map (quadkey:6), or for each area of a file.  [default: one file]",
        group=OUTPUTS,
        metavar="quadkey:LEVEL|FILE[:LAYER]",
    )
    names: Literal["geoseg", "overture"] = define_option(
        "geoseg",
        "Names of the columns: geoseg's own, or those of Overture Maps (`sources`, `bbox`, `confidence`).",
        group=OUTPUTS,
    )
    tiles: Path | None = define_option(
        None, "Write vector tiles for web maps and QGIS, too.", group=OUTPUTS, metavar="FILE.pmtiles"
    )
    overwrite: bool = define_option(False, "Replace outputs that exist.", group=OUTPUTS)
