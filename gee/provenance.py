"""The record beside each GeoTIFF: a STAC item that says what it shows, how it was made and whom to thank."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ee
import shapely

from gee.download import pixel_grid
from gee.geotiff import HASH_TAG, Form
from gee.lattice import footprint, lonlat_box
from gee.layers import Layer, Survey
from gee.parts import write_whole
from gee.session import Session
from geoseg import __version__
from geoseg.raster.grid import Grid, crs_name

STAC_VERSION = "1.1.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"


def expression_of(image: ee.Image) -> Mapping[str, Any]:
    """What Earth Engine is asked to compute; the same in every run."""
    encoded: Mapping[str, Any] = ee.serializer.encode(image, for_cloud_api=True)
    return encoded


def settings_hash(expression: Mapping[str, Any], form: Form) -> str:
    """One hash over everything that decides a layer's pixels."""
    settings = [
        expression,
        pixel_grid(form.grid),
        [band.name for band in form.bands],
        asdict(form.pixels),
    ]
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def item(layer: Layer, form: Form, survey: Survey, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The STAC item of a finished layer."""
    source = layer.source
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": layer.name,
        "geometry": json.loads(shapely.to_geojson(footprint(form.grid))),
        "bbox": lonlat_box(form.grid),
        "links": [{"rel": "about", "href": source.page, "title": source.title}] if source.asset else [],
        "properties": {
            "title": source.title,
            "datetime": None,
            "start_datetime": survey.start or f"{source.first}T00:00:00Z",
            "end_datetime": survey.end or f"{source.last or source.first}T00:00:00Z",
            "license": source.licence.code,
            "geoseg:attribution": source.licence.attribution,
            "geoseg:source": source.asset,
            "geoseg:scenes": list(survey.scenes),
            "processing:software": {"geoseg": __version__, "earthengine-api": ee.__version__},
            **projection_fields(form.grid),
            **facts,
        },
        "assets": {"data": asset(layer, form)},
    }


def projection_fields(grid: Grid) -> dict[str, Any]:
    """Where the pixels lie, in the words of STAC."""
    code = {"proj:code": crs_name(grid.crs)} if grid.crs.to_authority() else {"proj:wkt2": grid.crs.to_wkt()}
    return {**code, "proj:transform": list(grid.transform[:6]), "proj:shape": list(grid.shape)}


def asset(layer: Layer, form: Form) -> dict[str, Any]:
    """The file itself and its bands."""
    return {
        "href": f"./{layer.name}.tif",
        "type": COG_TYPE,
        "roles": ["data"] if layer.is_picture else ["data", "labels"],
        "bands": [
            {
                "name": band.name,
                **({"eo:common_name": band.common_name} if band.common_name else {}),
                "data_type": form.pixels.dtype,
                "nodata": form.pixels.nodata,
                "raster:scale": form.pixels.scale,
                "raster:offset": 0,
            }
            for band in form.bands
        ],
    }


def origin_facts(
    session: Session, layer: Layer, expression: Mapping[str, Any], sha256: str
) -> dict[str, Any]:
    """Whom was asked for what. Never who asked."""
    return {
        "geoseg:sha256": sha256,
        "geoseg:recipe": dict(layer.recipe.story),
        "geoseg:endpoint": session.url,
        "geoseg:project": session.project,
        "geoseg:expression": dict(expression),
    }


def tags(layer: Layer, sha256: str) -> dict[str, str]:
    """What the GeoTIFF itself says."""
    return {HASH_TAG: sha256, "TIFFTAG_COPYRIGHT": layer.source.licence.attribution}


def write_item(path: Path, content: Mapping[str, Any]) -> None:
    """Write the record, whole or not at all."""
    write_whole(path, json.dumps(content, indent=2).encode())
