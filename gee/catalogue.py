"""The catalogue: every source that can be exported, with its bands, pixels, dates, licence and defaults."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from geoseg.errors import InputError

AssetType = Literal["IMAGE", "IMAGE_COLLECTION", "TABLE"]


@dataclass(frozen=True)
class LayerBand:
    """One band, by Earth Engine's name and by the name other tools know its colour by."""

    name: str
    common_name: str = ""


@dataclass(frozen=True)
class PixelFormat:
    """How a layer's numbers lie in a file: valid ones between `lowest` and `highest`, else `nodata`."""

    dtype: str
    nodata: float
    lowest: float
    highest: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.lowest <= self.nodata <= self.highest:
            raise InputError(f"nodata {self.nodata:g} would hide valid pixels of {self.dtype}")


REFLECTANCE = PixelFormat("uint16", 0, 1, 65535, 0.0001)
PHOTOGRAPH = PixelFormat("uint8", 0, 1, 255)
MASK = PixelFormat("uint8", 255, 0, 254)
OWN_CODES = PixelFormat("uint8", 0, 1, 255)
MASK_VALUES = "0 = background, 1 = built"
"""What a record says of a mask; `geoseg prepare export` knows it by these words."""


@dataclass(frozen=True)
class Licence:
    """What a user owes for the data: an SPDX code (or `other`) and the words to print beside a map."""

    code: str
    attribution: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set of Earth Engine."""

    name: str
    title: str
    asset: str
    bands: tuple[LayerBand, ...]
    scale_m: float
    first: date
    last: date | None
    licence: Licence
    asset_type: AssetType = "IMAGE_COLLECTION"

    @property
    def page(self) -> str:
        """Where the data set is described."""
        return f"https://developers.google.com/earth-engine/datasets/catalog/{self.asset.replace('/', '_')}"

    def chosen(self, names: tuple[str, ...]) -> tuple[LayerBand, ...]:
        """The bands of these names, in this order."""
        known = {band.name: band for band in self.bands}
        for name in names:
            if name not in known:
                raise InputError(f"{self.name} has no band {name}; its bands are {', '.join(known)}")
        if len(set(names)) < len(names):
            raise InputError(f"--bands {','.join(names)} names a band twice")
        return tuple(known[name] for name in names)


@dataclass(frozen=True, kw_only=True)
class Imagery(Source):
    """Pictures: a collection of scenes to be made into one image."""

    pixels: PixelFormat
    default_bands: tuple[str, ...]
    clouds: tuple[str, ...] = ("none",)
    lattice_m: float | None = None

    @property
    def is_cloudy(self) -> bool:
        """Whether scenes are many and clouded, so that a composite is computed rather than read."""
        return len(self.clouds) > 1


@dataclass(frozen=True, kw_only=True)
class Label(Source):
    """Where buildings are: classes by code, or a share of the ground from 0 to `full`."""

    built: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    full: float = 1.0
    blank_is_ground: bool = False
    property_name: str = ""
    yearly: bool = False

    @property
    def band(self) -> str:
        return self.bands[0].name

    @property
    def is_share(self) -> bool:
        """Whether values measure how much is built, rather than name what is there."""
        return not self.built

    @property
    def is_of_one_date(self) -> bool:
        """Whether the label shows one moment, whatever the dates of the imagery."""
        return self.last is not None and self.last - self.first < timedelta(days=366)


SENTINEL2_LATTICE_M = 60.0
COPERNICUS = Licence("other", "Contains modified Copernicus Sentinel data")
CC_BY = "CC-BY-4.0"
JRC = Licence(CC_BY, "European Commission, Joint Research Centre: GHSL Data Package 2023")

SENTINEL2_BANDS = tuple(
    LayerBand(name, common)
    for name, common in {
        "B1": "coastal",
        "B2": "blue",
        "B3": "green",
        "B4": "red",
        "B5": "rededge071",
        "B6": "rededge075",
        "B7": "rededge078",
        "B8": "nir",
        "B8A": "nir08",
        "B9": "nir09",
        "B10": "cirrus",
        "B11": "swir16",
        "B12": "swir22",
    }.items()
)
RGB = (LayerBand("R", "red"), LayerBand("G", "green"), LayerBand("B", "blue"))
NRG = (LayerBand("N", "nir"), LayerBand("R", "red"), LayerBand("G", "green"))


def make_photographs(name: str, title: str, asset: str, scale_m: float, years: tuple[int, int]) -> Imagery:
    """Aerial photographs in red, green and blue whose provider has terms of its own."""
    return Imagery(
        name=name,
        title=title,
        asset=asset,
        bands=RGB,
        scale_m=scale_m,
        first=date(years[0], 1, 1),
        last=date(years[1], 12, 31),
        licence=Licence("other", title),
        pixels=PHOTOGRAPH,
        default_bands=("R", "G", "B"),
    )


def make_open_photographs(photos: Imagery, attribution: str) -> Imagery:
    """The same photographs, under CC-BY-4.0."""
    return Imagery(**{**vars(photos), "licence": Licence(CC_BY, attribution)})


IMAGERY: dict[str, Imagery] = {
    source.name: source
    for source in (
        Imagery(
            name="sentinel2",
            title="Sentinel-2 surface reflectance, harmonised",
            asset="COPERNICUS/S2_SR_HARMONIZED",
            bands=tuple(band for band in SENTINEL2_BANDS if band.name != "B10"),
            scale_m=10,
            first=date(2017, 3, 28),
            last=None,
            licence=COPERNICUS,
            pixels=REFLECTANCE,
            default_bands=("B2", "B3", "B4", "B8"),
            clouds=("csplus", "scl", "s2cloudless", "none"),
            lattice_m=SENTINEL2_LATTICE_M,
        ),
        Imagery(
            name="sentinel2-l1c",
            title="Sentinel-2 top-of-atmosphere reflectance, harmonised",
            asset="COPERNICUS/S2_HARMONIZED",
            bands=SENTINEL2_BANDS,
            scale_m=10,
            first=date(2015, 6, 27),
            last=None,
            licence=COPERNICUS,
            pixels=REFLECTANCE,
            default_bands=("B2", "B3", "B4", "B8"),
            clouds=("csplus", "s2cloudless", "none"),
            lattice_m=SENTINEL2_LATTICE_M,
        ),
        Imagery(
            name="naip",
            title="National Agriculture Imagery Program, conterminous United States",
            asset="USDA/NAIP/DOQQ",
            bands=(*RGB, LayerBand("N", "nir")),
            scale_m=0.6,
            first=date(2002, 6, 15),
            last=None,
            licence=Licence("other", "USDA Farm Production and Conservation Business Center (public domain)"),
            pixels=PHOTOGRAPH,
            default_bands=("R", "G", "B", "N"),
        ),
        Imagery(
            name="brandenburg",
            title="Orthophotos of Brandenburg and Berlin",
            asset="Germany/Brandenburg/orthos/20cm",
            bands=(*RGB, LayerBand("N", "nir")),
            scale_m=0.2,
            first=date(2021, 8, 23),
            last=date(2023, 1, 20),
            licence=Licence("other", "GeoBasis-DE/LGB, dl-de/by-2-0"),
            pixels=PHOTOGRAPH,
            default_bands=("R", "G", "B"),
        ),
        make_photographs(
            "estonia", "Estonian Land Board orthophotos", "Estonia/Maamet/orthos/rgb", 0.4, (1993, 2021)
        ),
        make_open_photographs(
            make_photographs("latvia", "Latvian orthophotos", "Latvia/Maamet/orthos/rgb", 0.2, (2007, 2018)),
            "Latvian Geospatial Information Agency",
        ),
        make_photographs("finland", "Finnish NLS orthophotos", "Finland/SMK/V/50cm", 0.5, (2015, 2023)),
        Imagery(
            name="finland-cir",
            title="Finnish NLS orthophotos in false colour",
            asset="Finland/MAVI/VV/50cm",
            bands=NRG,
            scale_m=0.5,
            first=date(2015, 1, 1),
            last=date(2018, 12, 31),
            licence=Licence(CC_BY, "National Land Survey of Finland"),
            pixels=PHOTOGRAPH,
            default_bands=("N", "R", "G"),
        ),
        make_photographs("slovakia", "Slovak orthophotos", "Slovakia/orthos/25cm", 0.25, (2017, 2020)),
        make_photographs("spain", "Spanish PNOA orthophotos", "Spain/PNOA/PNOA10", 0.1, (2007, 2019)),
        make_photographs(
            "switzerland", "SWISSIMAGE, swisstopo", "Switzerland/SWISSIMAGE/orthos/10cm", 0.1, (2017, 2021)
        ),
        make_open_photographs(
            make_photographs(
                "netherlands", "Luchtfoto", "Netherlands/Beeldmateriaal/LUCHTFOTO_RGB", 0.08, (2021, 2022)
            ),
            "Beeldmateriaal Nederland",
        ),
    )
}

ESM = Label(
    name="esm",
    title="European Settlement Map",
    asset="",
    asset_type="IMAGE",
    bands=(LayerBand("built"),),
    scale_m=10,
    first=date(2014, 1, 1),
    last=date(2019, 12, 31),
    licence=Licence("other", "European Commission, Joint Research Centre: European Settlement Map"),
    built=(250, 255),
    others=(1,),
)
WORLDCOVER_OTHERS = (10, 20, 30, 40, 60, 70, 80, 90, 95, 100)

LABELS: dict[str, Label] = {
    label.name: label
    for label in (
        Label(
            name="ghsl",
            title="GHSL built-up surface, 10 m, 2018",
            asset="JRC/GHSL/P2023A/GHS_BUILT_S_10m/2018",
            asset_type="IMAGE",
            bands=(LayerBand("built_surface"),),
            scale_m=10,
            first=date(2018, 1, 1),
            last=date(2018, 12, 31),
            licence=JRC,
            full=100,
        ),
        Label(
            name="ghsl-class",
            title="GHSL settlement characteristics, 10 m, 2018",
            asset="JRC/GHSL/P2023A/GHS_BUILT_C/2018",
            asset_type="IMAGE",
            bands=(LayerBand("built_characteristics"),),
            scale_m=10,
            first=date(2018, 1, 1),
            last=date(2018, 12, 31),
            licence=JRC,
            built=(11, 12, 13, 14, 15, 21, 22, 23, 24, 25),
            others=(0, 1, 2, 3, 4, 5),
            blank_is_ground=True,
        ),
        Label(
            name="wsf2015",
            title="World Settlement Footprint 2015",
            asset="DLR/WSF/WSF2015/v1",
            asset_type="IMAGE",
            bands=(LayerBand("settlement"),),
            scale_m=10,
            first=date(2015, 1, 1),
            last=date(2015, 12, 31),
            licence=Licence("CC0-1.0", "DLR: World Settlement Footprint 2015"),
            built=(255,),
            others=(0,),
            blank_is_ground=True,
        ),
        Label(
            name="wsf2019",
            title="World Settlement Footprint 2019",
            asset="projects/sat-io/open-datasets/WSF/WSF_2019",
            bands=(LayerBand("b1"),),
            scale_m=10,
            first=date(2019, 1, 1),
            last=date(2019, 12, 31),
            licence=Licence("other", "DLR: World Settlement Footprint 2019"),
            built=(255,),
            others=(0,),
            blank_is_ground=True,
        ),
        Label(
            name="worldcover",
            title="ESA WorldCover 2021",
            asset="ESA/WorldCover/v200",
            bands=(LayerBand("Map"),),
            scale_m=10,
            first=date(2021, 1, 1),
            last=date(2021, 12, 31),
            licence=Licence(CC_BY, "ESA WorldCover project 2021, contains modified Copernicus Sentinel data"),
            built=(50,),
            others=WORLDCOVER_OTHERS,
        ),
        Label(
            name="worldcover2020",
            title="ESA WorldCover 2020",
            asset="ESA/WorldCover/v100",
            bands=(LayerBand("Map"),),
            scale_m=10,
            first=date(2020, 1, 1),
            last=date(2020, 12, 31),
            licence=Licence(CC_BY, "ESA WorldCover project 2020, contains modified Copernicus Sentinel data"),
            built=(50,),
            others=WORLDCOVER_OTHERS,
        ),
        Label(
            name="dynamic-world",
            title="Dynamic World, mean probability of built ground over the period",
            asset="GOOGLE/DYNAMICWORLD/V1",
            bands=(LayerBand("built"),),
            scale_m=10,
            first=date(2015, 6, 27),
            last=None,
            licence=Licence(CC_BY, "Dynamic World by Google and World Resources Institute"),
        ),
        Label(
            name="open-buildings",
            title="Open Buildings 2.5D Temporal, presence of buildings",
            asset="GOOGLE/Research/open-buildings-temporal/v1",
            bands=(LayerBand("building_presence"),),
            scale_m=4,
            first=date(2016, 6, 30),
            last=date(2023, 6, 30),
            licence=Licence(CC_BY, "Google Research: Open Buildings 2.5D Temporal"),
            yearly=True,
        ),
        Label(
            name="open-buildings-polygons",
            title="Open Buildings v3 polygons, rasterised",
            asset="GOOGLE/Research/open-buildings/v3/polygons",
            asset_type="TABLE",
            bands=(LayerBand("built"),),
            scale_m=0.5,
            first=date(2023, 5, 1),
            last=date(2023, 5, 31),
            licence=Licence(CC_BY, "Google Research: Open Buildings v3"),
            property_name="confidence",
        ),
        ESM,
    )
}
