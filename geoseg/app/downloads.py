"""The files that people take away: each is made when it is asked for, of what the map shows."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import numpy as np

from geoseg.app.runs import FinishedRun
from geoseg.app.views import FootprintView, open_view_mask, vectorize_view
from geoseg.footprints.write.geopackage import add_region_layer
from geoseg.footprints.write.project import QgisProject, write_project
from geoseg.raster.mosaic import copy_raster
from geoseg.raster.source import open_quietly, replace_raster
from geoseg.reports.layers import read_parameters
from geoseg.reports.options import ReportOptions
from geoseg.reports.report import describe_run, write_report

RASTER_COMPRESSION = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}


@dataclass(frozen=True)
class Shown:
    """What the map shows: a view of a run, and the statistics of regions where there are some."""

    run: FinishedRun
    view: FootprintView
    regions: gpd.GeoDataFrame | None

    @property
    def stem(self) -> str:
        return f"{self.run.scene.name}-buildings"

    @property
    def is_own(self) -> bool:
        """Whether it is what the run itself found."""
        return self.view.request.threshold == self.run.threshold


@dataclass(frozen=True)
class Download:
    """A file that can be taken away: what it is called, how its name ends, and what makes it."""

    label: str
    ending: str
    kind: str
    make: Callable[[Shown, Path], Path]

    def read(self, shown: Shown) -> bytes:
        """Make the file, in a folder of its own, since a button may be pressed twice."""
        with TemporaryDirectory(dir=shown.run.folder, ignore_cleanup_errors=True) as folder:
            return self.make(shown, Path(folder)).read_bytes()


def make_geopackage(shown: Shown, folder: Path) -> Path:
    path = folder / "buildings.gpkg"
    if shown.view.file == shown.run.buildings:
        shutil.copy(shown.view.file, path)
    else:
        vectorize_view(shown.run, shown.view.request, path)
    if shown.regions is not None:
        add_region_layer(path, shown.regions, overwrite=True)
    return path


def make_geojson(shown: Shown, folder: Path) -> Path:
    path = folder / "buildings.geojson"
    vectorize_view(shown.run, shown.view.request, path)
    return path


def make_mask(shown: Shown, folder: Path) -> Path:
    path = folder / "mask.tif"
    if shown.is_own:
        shutil.copy(shown.run.mask, path)
    else:
        write_mask(shown.run, shown.view.request.threshold, path)
    return path


def write_mask(run: FinishedRun, threshold: float | None, path: Path) -> None:
    """The mask of the run at another threshold."""
    mask = open_view_mask(run, threshold)
    with open_quietly(run.mask) as model:
        profile = {**model.profile, "driver": "GTiff", **RASTER_COMPRESSION}
        colors, descriptions, tags = model.colormap(1), model.descriptions, model.tags()
    made = {**read_parameters(tags.get("GEOSEG", "")), "threshold": threshold}
    with replace_raster(path) as unfinished, open_quietly(unfinished, mode="w", **profile) as out:
        out.write_colormap(1, colors)
        out.descriptions = descriptions
        out.update_tags(**tags | {"GEOSEG": json.dumps(made, sort_keys=True)})
        for rows in mask.strips():
            window = (rows.start, rows.stop), (0, mask.grid.width)
            out.write(np.asarray(mask.read(rows)[0]), 1, window=window)


def make_probability(shown: Shown, folder: Path) -> Path:
    path = folder / "probability.tif"
    shutil.copy(shown.run.probability, path)
    return path


def make_report(shown: Shown, folder: Path) -> Path:
    """The page that `geoseg report` makes."""
    path = folder / "report.html"
    run = shown.run
    parameters = dict(run.result.job.parameters) if run.result.job else {}
    if shown.view.request.threshold is not None:
        parameters["threshold"] = shown.view.request.threshold
    facts = describe_run(parameters, run.card, run.result.seconds, run.scene.megapixels)
    asked = ReportOptions(
        image=str(run.scene.path),
        mask=str(make_mask(shown, folder)),
        probability=str(run.probability),
        title=run.scene.name,
    )
    write_report(make_geopackage(shown, folder), path, asked, facts)
    return path


def make_qgis_archive(shown: Shown, folder: Path) -> Path:
    """A project with all that it opens, in one archive."""
    inside = folder / shown.stem
    inside.mkdir()
    image = copy_image(shown.run.scene.path, inside)
    probability, mask = make_probability(shown, inside), make_mask(shown, inside)
    grid = shown.run.image_grid
    project = QgisProject(
        make_geopackage(shown, inside), [str(image)], str(probability), str(mask), grid.is_placed, grid.crs
    )
    write_project(project, inside / "project.qgz")
    path = folder / "qgis.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(inside.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def copy_image(source: Path, folder: Path) -> Path:
    """The image under a name that no other file has; one that lies in several files, as virtual rasters do, becomes one."""
    with open_quietly(source) as dataset:
        files = dataset.files
    if len(files) == 1:
        return Path(shutil.copy(source, folder / f"image{source.suffix}"))
    copy_raster(str(source), folder / "image.tif", driver="GTiff", bigtiff="if_safer", **RASTER_COMPRESSION)
    return folder / "image.tif"


DOWNLOADS = (
    Download("GeoPackage", ".gpkg", "application/geopackage+sqlite3", make_geopackage),
    Download("GeoJSON", ".geojson", "application/geo+json", make_geojson),
    Download("Mask", "-mask.tif", "image/tiff", make_mask),
    Download("Probability", "-probability.tif", "image/tiff", make_probability),
    Download("Report", "-report.html", "text/html", make_report),
    Download("QGIS project", "-qgis.zip", "application/zip", make_qgis_archive),
)
