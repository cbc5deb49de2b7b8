"""A synthetic scene as files: the photograph as a GeoTIFF and the truth about its buildings as a GeoPackage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas
import rasterio
from affine import Affine
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.footprints.write.formats import write_frame
from geoseg.io.access import check_writable
from geoseg.io.atomic import replace_file
from geoseg.progress import track
from geoseg.raster.grid import Grid, Window
from geoseg.raster.source import replace_raster
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import list_truth_polygons, render_photo

BLOCK = 512
LAYER = "buildings"
LARGEST_SIDE = 200_000
_CRS = CRS.from_epsg(32633)
_LEFT, _TOP = 320_000.0, 5_400_000.0


@dataclass(frozen=True)
class SyntheticScene:
    """A window of a demo world, from its upper left corner, with a place on Earth."""

    layout: Layout
    height: int
    width: int
    south_m: float = 0.0
    """How far south of where all scenes lie, for several that are to share no ground."""

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if not 1 <= side <= LARGEST_SIDE:
                raise InputError(f"{side} pixels is no size for a scene; choose from 1 to {LARGEST_SIDE}")

    @property
    def grid(self) -> Grid:
        """Where the pixels lie: at an easting where UTM metres are true metres."""
        gsd_m = self.layout.gsd_m
        return Grid(_CRS, Affine(gsd_m, 0, _LEFT, 0, -gsd_m, _TOP - self.south_m), self.height, self.width)

    @property
    def window(self) -> Window:
        return Window(0, 0, self.height, self.width)

    def strips(self) -> Iterator[Window]:
        for row in range(0, self.height, BLOCK):
            yield Window(row, 0, min(BLOCK, self.height - row), self.width)


def write_scene(scene: SyntheticScene, photo: Path, truth: Path) -> int:
    """Write the photograph and the truth of a scene, and tell how many buildings there are.

    The same scene gives the same bytes. Memory depends on the scene's width, not on its height.
    """
    _check_paths(photo, truth)
    with replace_raster(photo) as unfinished:
        _write_photo(scene, unfinished)
    with replace_file(truth) as unfinished:
        return _write_truth(scene, unfinished)


def _check_paths(photo: Path, truth: Path) -> None:
    for path, suffixes in ((photo, (".tif", ".tiff")), (truth, (".gpkg",))):
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{path}: the name must end in {' or '.join(suffixes)}")
        check_writable(path)


def _write_photo(scene: SyntheticScene, path: Path) -> None:
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 3,
        "height": scene.height,
        "width": scene.width,
        "crs": scene.grid.crs.to_wkt(),
        "transform": scene.grid.transform,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "JPEG",
        "photometric": "YCbCr",
        "jpeg_quality": 90,
        "interleave": "pixel",
        "bigtiff": "IF_SAFER",
    }
    with (
        rasterio.open(path, "w", **profile) as raster,
        track("Drawing", scene.grid.megapixels, "MP") as drawn,
    ):
        for strip in scene.strips():
            place = rasterio.windows.Window(0, strip.row, strip.width, strip.height)
            raster.write(render_photo(scene.layout, strip), window=place)
            drawn(strip.height * strip.width / 1e6)


def _write_truth(scene: SyntheticScene, path: Path) -> int:
    truth = list_truth_polygons(scene.layout, scene.window)
    outlines = geopandas.GeoSeries([outline for _, outline in truth], crs=scene.grid.crs)
    places = outlines.affine_transform(scene.grid.transform.to_shapely())
    buildings = geopandas.GeoDataFrame({"kind": [kind for kind, _ in truth]}, geometry=places)
    write_frame(buildings, path, LAYER, geometry_type="Polygon")
    return len(buildings)
