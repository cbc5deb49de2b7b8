"""What can be asked of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from geoseg.options import AT_LEAST_ONE, INPUTS, LOOKS, OUTPUTS, SHARE, Options, define_option

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
        "one", "What the colour of footprints tells; one: nothing, all have one colour.", group=LOOKS
    )
    fill: float | None = define_option(
        None,
        "How much polygons and masks cover what is below them, from 0 to 1.  [default: 0.25; 0.6 where colours tell something]",
        SHARE,
        group=LOOKS,
    )
    title: str | None = define_option(None, "Words across the top.", group=LOOKS, metavar="TEXT")
    attribution: str | None = define_option(
        None,
        "Words in the lower right corner.  [default: the copyright that the first raster names]",
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
