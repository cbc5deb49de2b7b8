"""The columns of the layers: what each is called, what it means, how people see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """One attribute of a layer. `short` is its name where ten letters must do (shapefiles)."""

    name: str
    kind: Literal["integer", "real", "text", "yes/no"]
    alias: str
    meaning: str
    short: str = ""

    @property
    def fitted_name(self) -> str:
        return self.short or self.name


FOOTPRINT_COLUMNS = (
    Column("id", "integer", "Number", "Stable number: the same scene and options give the same one."),
    Column("class", "text", "Class", "What the model says it is."),
    Column("area_m2", "real", "Footprint area (m²)", "True area on the ground, courtyards left out."),
    Column("perimeter_m", "real", "Perimeter (m)", "Length of the outline on the ground.", "perim_m"),
    Column("confidence", "real", "Confidence", "Mean probability inside, 0 to 1."),
    Column("regularized", "yes/no", "Straightened", "Whether its walls were made straight.", "straight"),
    Column("width_m", "real", "Width (m)", "Shorter side of the smallest rectangle around it."),
    Column("length_m", "real", "Length (m)", "Longer side of the smallest rectangle around it."),
    Column(
        "orientation_deg",
        "real",
        "Orientation (°)",
        "Its long side, degrees clockwise from grid north.",
        "orient_deg",
    ),
    Column("touches_nodata", "yes/no", "Touches nodata", "It may go on where nothing was seen.", "at_nodata"),
    Column(
        "touches_edge", "yes/no", "Touches the image's edge", "It may go on outside the image.", "at_edge"
    ),
    Column("region", "text", "Region", "The region its representative point lies in."),
)

REGION_COLUMNS = (
    Column("region", "text", "Region", "The region's name."),
    Column("class", "text", "Class", "What the row counts."),
    Column("buildings", "integer", "Buildings", "Footprints whose representative point lies in the region."),
    Column(
        "built_area_m2", "real", "Built area (m²)", "Footprints, split exactly at the border.", "built_m2"
    ),
    Column("region_area_m2", "real", "Region's area (m²)", "True area of the whole region.", "region_m2"),
    Column(
        "seen_area_m2", "real", "Seen area (m²)", "The part of the region that has image data.", "seen_m2"
    ),
    Column(
        "share",
        "real",
        "Built share",
        "Built area over seen area (over the region's where no image was given).",
    ),
    Column("mean_area_m2", "real", "Mean size (m²)", "Mean area of the counted footprints.", "mean_m2"),
    Column(
        "median_area_m2",
        "real",
        "Median size (m²)",
        "Half of the counted footprints are larger.",
        "median_m2",
    ),
    Column(
        "p90_area_m2",
        "real",
        "90th percentile size (m²)",
        "One in ten counted footprints is larger.",
        "p90_m2",
    ),
    Column("mean_confidence", "real", "Mean confidence", "Mean of the footprints' confidence.", "mean_conf"),
    Column(
        "expected_area_m2", "real", "Expected area (m²)", "Sum of probability times pixel area.", "expect_m2"
    ),
    Column(
        "adjusted_area_m2",
        "real",
        "Error-adjusted area (m²)",
        "Corrected by the model's known errors.",
        "adj_m2",
    ),
    Column("adjusted_low_m2", "real", "Adjusted, low (m²)", "Lower end of its 95 % interval.", "adj_low_m2"),
    Column("adjusted_high_m2", "real", "Adjusted, high (m²)", "Upper end of its 95 % interval.", "adj_hi_m2"),
)
