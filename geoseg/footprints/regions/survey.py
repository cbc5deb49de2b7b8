"""Statistics per region of footprints that are already in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np

from geoseg.footprints.areas.ground import areas_and_perimeters
from geoseg.footprints.areas.measure import AreaCrs
from geoseg.footprints.files.geopackage import REGIONS, add_region_layer, check_replaceable, region_file
from geoseg.footprints.files.replacing import plain_errors, replacing
from geoseg.footprints.regions.footprint_layer import FootprintLayer
from geoseg.footprints.regions.regions import read_regions
from geoseg.footprints.regions.statistics import RegionStatistics
from geoseg.footprints.regions.survey_rasters import SurveyRasters
from geoseg.narrator import QUIET, Narrator


@dataclass(frozen=True)
class Survey:
    """What to count: a file of footprints, regions, and the rasters the footprints came from, where they are kept."""

    footprints: Path
    regions: str
    region_id: str | None = None
    mask: Path | None = None
    probability: Path | None = None
    area_crs: str = "auto"


def survey(
    question: Survey, csv: Path | None = None, overwrite: bool = False, narrator: Narrator = QUIET
) -> gpd.GeoDataFrame:
    """Count per region; put the table into the footprints' file as its layer `regions`, and into a CSV file."""
    layer = FootprintLayer.open(question.footprints)
    check_replaceable(region_file(question.footprints), (REGIONS,), overwrite)
    if csv is not None:
        check_replaceable(csv, (), overwrite)
    table = count(question, layer, narrator)
    target = add_region_layer(question.footprints, table, overwrite, narrator)
    narrator.say(f"{len(table)} rows in layer {REGIONS} of {target}")
    if csv is not None:
        with replacing(csv) as folder, plain_errors(csv):
            table.drop(columns=table.geometry.name).to_csv(
                folder / csv.name, index=False, lineterminator="\n"
            )
    return table


def count(question: Survey, layer: FootprintLayer, narrator: Narrator = QUIET) -> gpd.GeoDataFrame:
    """The table of statistics, and nothing written."""
    with SurveyRasters.opened(question.mask, question.probability) as rasters:
        place = rasters.grid if rasters else layer.extent
        area = AreaCrs.choose(place, question.area_crs, narrator)
        regions = read_regions(question.regions, place, question.region_id, narrator)
        statistics = RegionStatistics(regions, area, dict(enumerate(layer.classes, start=1)), place)
        with narrator.task("Counting", layer.rows, "footprints") as done:
            for frame in layer.frames():
                measured, _ = areas_and_perimeters(area, np.asarray(frame.geometry.array), layer.crs)
                statistics.add_footprints(frame.assign(area_m2=measured))
                done(len(frame))
        if rasters:
            rasters.add_to(statistics, narrator)
    return statistics.table()
