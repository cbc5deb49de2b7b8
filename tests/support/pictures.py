"""Makes pictures of the documentation from real runs: the example, and a quarter of Accra where its imagery is at hand.

    python tests/support/pictures.py [IMAGERY]

IMAGERY is the folder with `accra` as its publisher offers it (examples/models/README.md).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import rasterio
from rasterio.windows import Window, transform

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "pages" / "images"
ACCRA = Window(760, 2600, 1000, 700)
"""In the western end, which no training saw; (col, row, width, height)."""
ACCRA_CREDIT = "Image: Open Cities AI Challenge, GFDRR Labs 2020, CC-BY-4.0"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        draw(ROOT / "examples" / "scene.tif", work / "example.gpkg", IMAGES / "buildings.jpg", "")
        if sys.argv[1:]:
            image = cut(Path(sys.argv[1]) / "accra" / "accra_0.2m.tif", ACCRA, work / "accra.tif")
            draw(image, work / "accra.gpkg", IMAGES / "accra.jpg", ACCRA_CREDIT)
            labels = cut(Path(sys.argv[1]) / "accra" / "accra_0.2m_buildings.tif", ACCRA, work / "labels.tif")
            draw_changes(image, labels, work / "accra.gpkg", IMAGES / "compare.jpg")


def draw(image: Path, footprints: Path, picture: Path, credit: str) -> None:
    """Find the buildings of an image, and draw them over it."""
    options = [
        "--fill",
        "0.15",
        "--width",
        "1200",
        "--overwrite",
        *(["--attribution", credit] if credit else []),
    ]
    for command in (
        ["infer", str(image), "--out", str(footprints)],
        ["plot", str(image), str(footprints), "--out", str(picture), *options],
    ):
        subprocess.run([sys.executable, "-m", "geoseg", *command], check=True)


def draw_changes(image: Path, labels: Path, footprints: Path, picture: Path) -> None:
    """Compare what people drew with what was found, and draw what became of each building."""
    drawn, changes = labels.with_suffix(".gpkg"), labels.with_name("changes.gpkg")
    for command in (
        ["vectorize", str(labels), "--out", str(drawn)],
        ["compare", str(drawn), str(footprints), "--out", str(changes)],
        ["plot", str(image), str(changes), "--out", str(picture), "--width", "1200", "--overwrite",
         "--attribution", ACCRA_CREDIT],
    ):  # fmt: skip
        subprocess.run([sys.executable, "-m", "geoseg", *command], check=True)


def cut(source: Path, window: Window, out: Path) -> Path:
    """A part of a large image."""
    with rasterio.open(source) as whole:
        size = {
            "width": window.width,
            "height": window.height,
            "transform": transform(window, whole.transform),
        }
        bands = list(whole.indexes[:3])
        with rasterio.open(
            out, "w", driver="GTiff", crs=whole.crs, count=len(bands), dtype="uint8", **size
        ) as part:
            part.write(whole.read(bands, window=window))
    return out


if __name__ == "__main__":
    main()
