"""A corner of the example scene, and runs of the app over it."""

from __future__ import annotations

from pathlib import Path

import rasterio
from rasterio.windows import Window

from geoseg.app.forms import make_options
from geoseg.app.runs import Run
from geoseg.app.scenes import SceneFile
from geoseg.inference.threads import CancelToken

EXAMPLE = Path(__file__).parents[2] / "examples" / "scene.tif"
SIDE = 320


def write_crop(path: Path, **changes: object) -> Path:
    """A corner of the example scene, small enough for any test."""
    with rasterio.open(EXAMPLE) as scene:
        window = Window(300, 300, SIDE, SIDE)
        pixels, transform = scene.read(window=window), scene.window_transform(window)
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": SIDE, "height": SIDE}
        profile |= {"crs": scene.crs, "transform": transform, **changes}
    with rasterio.open(path, "w", **profile) as out:
        out.write(pixels)
    return path


def run_to_the_end(scene: SceneFile, folder: Path, **answers: object) -> Run:
    """A run that is over."""
    folder.mkdir()
    run = Run(scene, folder, make_options(answers), CancelToken())
    run.start()
    run.wait(120)
    return run
