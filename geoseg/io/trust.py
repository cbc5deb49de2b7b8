"""What a file may make GDAL do. By default only what its name says: GDAL looks at contents, and takes a virtual raster that is
called scene.tif for what it is: an order to read other files, or to ask a server, with the rights of whoever opens it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

from geoseg.errors import InputError

TRUST_VARIABLE = "GEOSEG_TRUST"
"""In the environment, so that threads and worker processes know it, too."""

RASTER_DRIVERS = {
    ".tif": ("GTiff",), ".tiff": ("GTiff",), ".gtiff": ("GTiff",), ".png": ("PNG",), ".jpg": ("JPEG",), ".jpeg": ("JPEG",),
    ".jp2": ("JP2OpenJPEG", "JP2ECW", "JP2KAK", "JP2MrSID"), ".img": ("HFA",), ".bmp": ("BMP",), ".gif": ("GIF", "BIGGIF"),
    ".webp": ("WEBP",), ".gpkg": ("GPKG",), ".asc": ("AAIGrid", "GRASSASCIIGrid"), ".nc": ("netCDF", "HDF5", "HDF5Image"),
    ".vrt": ("VRT",),
}  # fmt: skip
"""Who may read a file of a name. Other names are left to every driver that reads the file alone."""
REACHING_DRIVERS = {
    "VRT", "WMS", "WCS", "WMTS", "DAAS", "EEDA", "EEDAI", "GTI", "HTTP", "NGW", "OGCAPI", "PLMOSAIC", "PLSCENES", "STACIT",
    "STACTA", "DERIVED", "MRF", "GDALG", "ESRIC", "KMLSUPEROVERLAY",
}  # fmt: skip
"""Formats whose content names other files or servers."""

FIRST_BYTES = {
    ".tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".img": (b"EHFA_HEADER_TAG",),
    ".jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
}
SAME_FORMAT = {".tiff": ".tif", ".gtiff": ".tif", ".jpeg": ".jpg"}
ORDERS = (b"<VRTDataset", b"<GDAL_WM", b"<WMS_Tile", b"<WCS_", b"<OGRVRT", b"<GDALTileIndex")
"""What files begin with that make GDAL read other ones, or ask a server."""
HEAD_BYTES = 4096
LARGEST_VRT_BYTES = 100_000_000
DEEPEST_VRT = 5

SOURCE_TAGS = {"SourceFilename", "SourceDataset"}
KNOWN_TAGS = SOURCE_TAGS | {
    "VRTDataset", "SRS", "GeoTransform", "Metadata", "MDI", "VRTRasterBand", "ColorInterp", "NoDataValue", "HideNoDataValue",
    "Description", "Offset", "Scale", "UnitType", "ColorTable", "Entry", "CategoryNames", "Category", "SimpleSource",
    "ComplexSource", "AveragedSource", "NoDataFromMaskSource", "KernelFilteredSource", "Kernel", "Size", "Coefs", "SourceBand",
    "SourceProperties", "SrcRect", "DstRect", "NODATA", "UseMaskBand", "ScaleOffset", "ScaleRatio", "LUT",
    "ColorTableComponent", "Exponent", "Clamp", "SrcMin", "SrcMax", "DstMin", "DstMax", "MaskBand", "Overview", "OverviewList",
    "Histograms", "HistItem", "HistMin", "HistMax", "BucketCount", "IncludeOutOfRange", "Approximate", "HistCounts", "GCPList",
    "GCP", "BlockXSize", "BlockYSize", "PixelFunctionType", "PixelFunctionArguments", "SourceTransferType", "GDALWarpOptions",
    "WarpMemoryLimit", "ResampleAlg", "WorkingDataType", "Option", "Transformer", "ApproxTransformer", "MaxError",
    "BaseTransformer", "GenImgProjTransformer", "ReprojectTransformer", "ReprojectionTransformer", "SrcGeoTransform",
    "SrcInvGeoTransform", "DstGeoTransform", "DstInvGeoTransform", "SourceSRS", "TargetSRS", "BandList", "BandMapping",
    "SrcNoDataReal", "SrcNoDataImag", "DstNoDataReal", "DstNoDataImag", "SrcAlphaBand", "DstAlphaBand", "Reproject", "Options",
}  # fmt: skip
"""What gdalbuildvrt, gdal_translate and gdalwarp write. Other elements may name files in ways of their own."""
WARP_OPTIONS = {
    "INIT_DEST", "UNIFIED_SRC_NODATA", "NUM_THREADS", "SAMPLE_GRID", "CENTER_LONG", "ERROR_OUT_IF_EMPTY_SOURCE_WINDOW",
    "AREA_OF_INTEREST", "ONLY_BEST",
}  # fmt: skip
DATASET_MARKS = ("dataset.toml", ".recipe.json")
"""What makes a folder a data set, finished or under way."""
FILE_DOMAINS = {"GEOLOCATION", "RPC"}
REMEDY = "if you know where it is from, `trust` lets GDAL follow it"


def is_trusted() -> bool:
    """Whether files may make GDAL read others and ask servers."""
    return os.environ.get(TRUST_VARIABLE, "") not in ("", "0")


@contextmanager
def trust_files() -> Iterator[None]:
    """Let files do inside this block whatever GDAL does for them, but for running code."""
    before = os.environ.get(TRUST_VARIABLE)
    os.environ[TRUST_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[TRUST_VARIABLE]
        else:
            os.environ[TRUST_VARIABLE] = before


OWN_FOLDERS = set[Path]()


@contextmanager
def vouch_for_folder(folder: Path) -> Iterator[None]:
    """Let virtual rasters in a folder name files anywhere inside this block: they are our own, of files that were looked at."""
    own = folder.resolve()
    OWN_FOLDERS.add(own)
    try:
        yield
    finally:
        OWN_FOLDERS.discard(own)


def is_own(path: Path) -> bool:
    return not OWN_FOLDERS.isdisjoint(path.resolve().parents)


def find_suffix(source: str) -> str:
    """The ending of a source's name: of a file, also inside an archive or on the web."""
    path = re.sub(r"[?#].*", "", source) if "://" in source or source.startswith("/vsicurl/") else source
    return Path(path.rpartition("!")[2]).suffix.lower()


def check_source(source: str) -> None:
    """Refuse a virtual raster that reads what lies elsewhere; one with code in it is refused even if it is trusted."""
    path = Path(source)
    if not is_trusted() and not source.startswith("<"):
        check_sidecars(source)
    if find_suffix(source) != ".vrt":
        return
    if path.is_file():
        check_virtual_raster(path, path.stat().st_mtime_ns, is_trusted() or is_own(path))
    elif "/" in source and not is_trusted():
        raise InputError(
            f"{source}: is a virtual raster in an archive or on the web, which may read any file; {REMEDY}"
        )


def check_sidecars(source: str) -> None:
    """Refuse overviews and masks beside a file that are none: GDAL goes by their content, too."""
    for beside in (Path(f"{source}.ovr"), Path(f"{source}.msk")):
        if beside.is_file() and not read_head(beside).startswith(FIRST_BYTES[".tif"]):
            raise InputError(f"{beside}: is no GeoTIFF, as what lies beside an image must be; delete it")
    notes = Path(f"{source}.aux.xml")
    if notes.is_file() and b"OVERVIEW_FILE" in notes.read_bytes():
        raise InputError(f"{notes}: names another file as overviews of {source}; {REMEDY}")


@lru_cache(maxsize=1024)
def check_virtual_raster(path: Path, changed: int, trusted: bool, depth: int = 0) -> None:
    """Refuse a virtual raster that names anything but plain images below its own folder."""
    del changed  # what was looked at once is looked at again when it changes
    root = parse_virtual_raster(path)
    for element in root.iter():
        is_python = element.tag == "PixelFunctionLanguage" and "python" in (element.text or "").lower()
        if element.tag == "PixelFunctionCode" or is_python:
            raise InputError(f"{path}: holds code of its own, which geoseg never runs")
    if trusted:
        return
    if depth > DEEPEST_VRT:
        raise InputError(f"{path}: is a virtual raster of virtual rasters, {depth} deep; {REMEDY}")
    refuse_unknown_elements(root, path)
    for element in root.iter():
        if element.tag in SOURCE_TAGS:
            check_part(find_part(element, path), path, depth)


def parse_virtual_raster(path: Path) -> ElementTree.Element:
    try:
        if path.stat().st_size > LARGEST_VRT_BYTES:
            raise InputError(f"{path}: is too large for a virtual raster")
        content = path.read_bytes()
        if b"<!" in content.replace(b"<!--", b""):
            raise InputError(f"{path}: declares types or entities, as no virtual raster does")
        return ElementTree.fromstring(content)  # noqa: S314 - without entities
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: not a virtual raster that can be read ({error})") from error


def refuse_unknown_elements(root: ElementTree.Element, path: Path) -> None:
    for element in root.iter():
        name = element.get("name") or element.get("key") or ""
        if element.tag not in KNOWN_TAGS:
            what = f"<{element.tag}>"
        elif element.tag == "Option" and name not in WARP_OPTIONS:
            what = f"the option {name}"
        elif element.tag == "Metadata" and element.get("domain") in FILE_DOMAINS:
            what = f"the metadata {element.get('domain')}"
        else:
            continue
        raise InputError(f"{path}: holds {what}, which may name other files; {REMEDY}")


def find_part(element: ElementTree.Element, path: Path) -> Path:
    """The file that an element names, if it lies in the folder of the virtual raster or below it."""
    named = (element.text or "").strip()
    folder = path.resolve().parent
    is_relative = element.get("relativeToVRT", "0") == "1"
    part = (folder / named if is_relative else Path(named)).resolve()
    if not part.is_relative_to(folder) and not is_in_dataset(folder):
        raise InputError(f"{path}: reads {named[:80]}, which does not lie below its own folder; {REMEDY}")
    return part


def is_in_dataset(folder: Path) -> bool:
    """Whether a folder belongs to a data set, which may name images anywhere."""
    return any((place / mark).is_file() for place in (folder, folder.parent) for mark in DATASET_MARKS)


def check_part(part: Path, path: Path, depth: int) -> None:
    """Refuse a part whose content is not what its name says: GDAL goes by the content."""
    suffix = SAME_FORMAT.get(part.suffix.lower(), part.suffix.lower())
    if not part.is_file():
        raise InputError(f"{path}: reads {part}, which is not there")
    if suffix == ".vrt":
        check_virtual_raster(part, part.stat().st_mtime_ns, trusted=False, depth=depth + 1)
        return
    head = read_head(part)
    if not head.startswith(FIRST_BYTES.get(suffix, ())) or any(order in head for order in ORDERS):
        raise InputError(f"{path}: reads {part}, whose content is no image such as its name says; {REMEDY}")


def describe_disguise(source: str) -> str:
    """A hint where a file is not what its name says, or nothing at all."""
    path, suffix = Path(source), find_suffix(source)
    head = read_head(path) if path.is_file() else None
    if head == b"":
        return "; it is empty: get it again"
    expected = FIRST_BYTES.get(SAME_FORMAT.get(suffix, suffix))
    if is_trusted() or expected is None or head is None or head.startswith(expected):
        return ""
    return f"; its content is of another kind than its name says: name it for what it is, or, {REMEDY}"


def read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def check_vector_source(path: Path) -> None:
    """Refuse a vector file that makes GDAL read other ones."""
    if not is_trusted() and path.is_file() and any(order in read_head(path) for order in ORDERS):
        raise InputError(f"{path}: makes GDAL read other files; {REMEDY}")
