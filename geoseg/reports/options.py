"""What can be asked of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geoseg.options import AT_LEAST_ONE, INPUTS, LOOKS, OUTPUTS, SHARE, Options, define_option

REPORT_SUFFIXES = (".html", ".htm")
PLAIN_FILL, TELLING_FILL = 0.25, 0.6


@dataclass(frozen=True, kw_only=True)
class PlotOptions(Options):
    """What can be asked of `plot`."""

    window: str | None = define_option(
        None,
        "The part to show, in coordinates of the first layer.  [default: all of it]",
        group=INPUTS,
        metavar="WEST,SOUTH,EAST,NORTH",
    )
    color_by: Literal["one", "area", "confidence", "class"] = define_option(
        "one", "What the colour of footprints shows; one: nothing, all have the same colour.", group=LOOKS
    )
    fill: float | None = define_option(
        None,
        "How much polygons and masks cover what is below them, from 0 to 1.  [default: 0.25; 0.6 where colours mean something]",
        SHARE,
        group=LOOKS,
    )
    title: str | None = define_option(None, "Title above the picture.", group=LOOKS, metavar="TEXT")
    attribution: str | None = define_option(
        None,
        "Text in the lower right corner.  [default: the copyright that the first raster names]",
        group=LOOKS,
        metavar="TEXT",
    )
    width: int = define_option(
        1600, "Width of the picture in pixels.", AT_LEAST_ONE, group=OUTPUTS, metavar="PIXELS"
    )

    @property
    def cover(self) -> float:
        """How much polygons cover."""
        return (PLAIN_FILL if self.color_by == "one" else TELLING_FILL) if self.fill is None else self.fill


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """What can be asked of `report`."""

    image: str | None = define_option(None, "The image below the footprints.", group=INPUTS, metavar="FILE")
    mask: str | None = define_option(
        None, "The mask, as a layer that can be switched on.", group=INPUTS, metavar="FILE"
    )
    probability: str | None = define_option(
        None, "The probability raster, as a layer that can be switched on.", group=INPUTS, metavar="FILE"
    )
    title: str | None = define_option(
        None, "The heading.  [default: the name of the file]", group=LOOKS, metavar="TEXT"
    )
    attribution: str | None = define_option(
        None,
        "Text in the corner of the map.  [default: the copyright that the image names]",
        group=LOOKS,
        metavar="TEXT",
    )
    overwrite: bool = define_option(False, "Replace a report that exists.", group=OUTPUTS)
