"""Whether this machine is fit to work: what is installed, what would run and how fast, and what to do about each problem."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import pyogrio
import pyproj
import rasterio

from geoseg import __version__
from geoseg.errors import INSTALL_TORCH, GeosegError
from geoseg.inference.estimate import BASE_BYTES, time_patch
from geoseg.inference.loaded import LoadedModel, load_model
from geoseg.inference.options import PredictOptions
from geoseg.io.access import check_writable
from geoseg.models.backends.base import RawPatches
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.runtime import describe_device, explain_unused_gpu, is_torch_installed
from geoseg.models.store import find_cache_folder, find_model
from geoseg.parallel import count_cores, count_processors, find_memory_bytes, read_short
from geoseg.progress import format_count

log = logging.getLogger(__name__)

Level = Literal["ok", "hint", "problem"]

MARKS: dict[Level, str] = {"ok": "  ", "hint": "? ", "problem": "! "}
LIBRARIES = ("numpy", "rasterio", "pyogrio", "shapely", "geopandas", "openvino", "onnxruntime", "torch")
RASTER_FORMATS = {
    "GTiff": "GeoTIFF",
    "COG": "Cloud Optimized GeoTIFF",
    "PNG": "PNG",
    "JPEG": "JPEG",
    "VRT": "virtual rasters",
}
LAYER_FORMATS = {
    "GPKG": "GeoPackage",
    "GeoJSON": "GeoJSON",
    "FlatGeobuf": "FlatGeobuf",
    "ESRI Shapefile": "shapefiles",
}
FOREIGN_DATA = ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH")
"""Variables by which another installation of GDAL or PROJ gets into this one: the usual reason for missing projections."""
LEAST_DISK_BYTES = 2 * 2**30
"""Strips of a scene of a gigapixel, and what is made of them."""
TRIAL_SECONDS = 5.0


@dataclass(frozen=True)
class MachineFinding:
    """What was looked at, what is there, and what to do where that is not good."""

    topic: str
    text: str
    level: Level = "ok"
    remedy: str = ""

    def __str__(self) -> str:
        return f"{MARKS[self.level]}{self.topic:<13}{self.text}" + (f": {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Diagnosis:
    """All that was found on a machine."""

    findings: tuple[MachineFinding, ...]

    @property
    def problems(self) -> int:
        """How many of them keep geoseg from working."""
        return sum(finding.level == "problem" for finding in self.findings)

    @property
    def summary(self) -> dict[str, Any]:
        """As a program reads it."""
        return {"problems": self.problems, "findings": [asdict(finding) for finding in self.findings]}

    def __str__(self) -> str:
        hints = sum(finding.level == "hint" for finding in self.findings)
        verdict = f"Problems (!): {self.problems}, hints (?): {hints}"
        return "\n".join([*map(str, self.findings), "", verdict])


Check = Callable[[], Iterator[MachineFinding]]


def diagnose(more: Sequence[Check] = (), trial_seconds: float = TRIAL_SECONDS) -> Diagnosis:
    """Look at everything that work depends on; `more` are checks of others, such as Earth Engine's."""
    checks: list[Check] = [
        check_versions,
        check_formats,
        check_projections,
        check_processor,
        check_gpu,
        lambda: check_model(trial_seconds),
        check_memory,
        check_disk,
        check_cache,
        *more,
    ]
    return Diagnosis(tuple(finding for check in checks for finding in run_check(check)))


def run_check(check: Check) -> Iterator[MachineFinding]:
    """A check's findings; one that breaks off is a finding, too."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a machine is what is asked for
        yield MachineFinding("Error", f"{type(error).__name__}: {error}", "problem", "please report it")


def check_versions() -> Iterator[MachineFinding]:
    yield MachineFinding("geoseg", f"{__version__}, in {Path(sys.executable).parent.parent}")
    yield MachineFinding("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield MachineFinding("Libraries", ", ".join(f"{name} {find_version(name)}" for name in LIBRARIES))


def find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def check_formats() -> Iterator[MachineFinding]:
    with rasterio.Env() as env:
        rasters = env.drivers()
    layers = pyogrio.list_drivers(write=True)
    missing = [
        *(name for driver, name in RASTER_FORMATS.items() if driver not in rasters),
        *(name for driver, name in LAYER_FORMATS.items() if driver not in layers),
    ]
    gdal = f"{rasterio.__gdal_version__} for rasters, {pyogrio.__gdal_version_string__} for layers"
    if missing:
        remedy = "pip install --force-reinstall --no-deps rasterio pyogrio"
        yield MachineFinding("GDAL", f"{gdal}; without {', '.join(missing)}", "problem", remedy)
    else:
        yield MachineFinding("GDAL", gdal)


def check_projections() -> Iterator[MachineFinding]:
    try:
        east, _ = pyproj.Transformer.from_crs(4326, 32631, always_xy=True).transform(3.0, 0.0)
        works = abs(east - 500_000) < 1e-3
    except pyproj.exceptions.ProjError:
        works = False
    foreign = [name for name in FOREIGN_DATA if os.environ.get(name)]
    text = f"PROJ {pyproj.proj_version_str}"
    remedy = f"unset {' '.join(foreign)}, which another program has set" if foreign else ""
    if works and not foreign:
        yield MachineFinding("Projections", text)
    elif works:
        yield MachineFinding(
            "Projections",
            f"{text}; {', '.join(foreign)} may bring in data of another version",
            "hint",
            remedy,
        )
    else:
        yield MachineFinding(
            "Projections",
            f"{text} finds no EPSG codes",
            "problem",
            remedy or "pip install --force-reinstall pyproj",
        )


def check_processor() -> Iterator[MachineFinding]:
    yield MachineFinding(
        "Processor",
        f"{find_processor_name()}, {format_count(count_cores(), 'core')}, "
        f"{format_count(count_processors(), 'thread')} for this process",
    )


def find_processor_name() -> str:
    """What the maker calls it, where the system tells."""
    told = read_short("/proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def check_gpu() -> Iterator[MachineFinding]:
    unused = explain_unused_gpu()
    if unused:
        text, _, remedy = unused.partition(": ")
        yield MachineFinding("GPU", text, "hint", remedy)
    elif not is_torch_installed():
        yield MachineFinding(
            "GPU", f"none is looked for without PyTorch ({INSTALL_TORCH}); the processor does all work"
        )


def check_model(seconds: float) -> Iterator[MachineFinding]:
    """Which engine would run the built-in model, and how fast its network is."""
    try:
        loaded = load_model(find_model("default"), PredictOptions())
    except GeosegError as error:
        yield MachineFinding("Engine", str(error), "problem", "pip install --force-reinstall openvino")
        return
    kind = loaded.kinds[0]
    yield MachineFinding("Engine", f"{kind.engine}, {kind.precision}, on {describe_device(kind.device)}")
    yield MachineFinding(
        "Speed", f"{measure_speed(loaded, seconds):.2g} Mpx/s, the network of the model default alone"
    )


def measure_speed(loaded: LoadedModel, seconds: float) -> float:
    """Megapixels a second, in one patch after the other."""
    card = loaded.model.card
    patches = RawPatches(card.patch, "uint8", make_fixed_normalisation(card))
    runtime = loaded.open_runtime(patches, loaded.kinds[0])
    log.info("Trying the model for some seconds")
    shape = (1, len(card.bands), card.patch, card.patch)
    return card.patch**2 / 1e6 / time_patch(runtime, shape, patches.dtype, seconds)


def check_memory() -> Iterator[MachineFinding]:
    there = find_memory_bytes()
    if there is None:
        yield MachineFinding("Memory", "this system does not tell")
    elif there < BASE_BYTES:
        text = f"{there / 2**30:.1f} GiB, and a run takes {BASE_BYTES / 2**30:.1f} GiB at least"
        yield MachineFinding("Memory", text, "problem", "give the machine or the container more")
    else:
        yield MachineFinding(
            "Memory", f"{there / 2**30:.1f} GiB with swap space, as far as this process may use it"
        )


def check_disk() -> Iterator[MachineFinding]:
    for name, folder in (("This folder", Path.cwd()), ("Temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        text = f"{folder}, {free / 2**30:.1f} GiB free"
        if not os.access(folder, os.W_OK):
            yield MachineFinding(
                name, f"{text}, and nothing can be written there", "hint", "write results elsewhere"
            )
        elif free < LEAST_DISK_BYTES:
            yield MachineFinding(
                name, text, "hint", "large scenes need more: free some, or write results elsewhere"
            )
        else:
            yield MachineFinding(name, text)


def check_cache() -> Iterator[MachineFinding]:
    """Whether converted networks can be kept for the next run."""
    folder = find_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder / "doctor")
        yield MachineFinding("Cache", str(folder))
    except (OSError, GeosegError) as error:
        yield MachineFinding(
            "Cache",
            f"{folder} cannot be written ({error})",
            "hint",
            "every run starts slowly; set GEOSEG_CACHE to a folder",
        )
