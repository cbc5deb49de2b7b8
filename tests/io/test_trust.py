"""A file does what its name says: no scene, mask or layer makes GDAL read another file, or ask a server, by itself."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.vrt
from made import UTM33, RasterWriter, photo

from geoseg.errors import InputError
from geoseg.io.archives import unpack_archive
from geoseg.io.layers import read_layer
from geoseg.io.trust import check_vector_source, is_trusted, trust_files, vouch_for_folder
from geoseg.raster.mask import open_mask
from geoseg.raster.scene import Scene, open_scene

RAW = """<VRTDataset rasterXSize="20" rasterYSize="20"><SRS>{crs}</SRS><GeoTransform>0,1,0,0,0,-1</GeoTransform>
<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">
<SourceFilename relativeToVRT="0">{file}</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>
<LineOffset>20</LineOffset></VRTRasterBand></VRTDataset>"""
SIMPLE = """<VRTDataset rasterXSize="20" rasterYSize="20"><SRS>{crs}</SRS><GeoTransform>0,1,0,0,0,-1</GeoTransform>
<VRTRasterBand dataType="Byte" band="1"{attributes}>{extra}<SimpleSource><SourceFilename relativeToVRT="{relative}">{file}</SourceFilename>
<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""
WMS = """<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}</ServerUrl></Service><DataWindow><UpperLeftX>0</UpperLeftX>
<UpperLeftY>20</UpperLeftY><LowerRightX>20</LowerRightX><LowerRightY>0</LowerRightY><TileLevel>0</TileLevel>
</DataWindow><Projection>EPSG:32633</Projection><BandsCount>1</BandsCount></GDAL_WMS>"""
PYTHON = """<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>
<PixelFunctionCode>def f(i, o, *a): o[:] = 1</PixelFunctionCode>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a stranger's, beside which something lies that is none of theirs."""
    (tmp_path / "secret").write_bytes(bytes(range(256)) * 2)
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


def simple(file: object, relative: int = 1, attributes: str = "", extra: str = "") -> str:
    return SIMPLE.format(crs=UTM33, file=file, relative=relative, attributes=attributes, extra=extra)


def look(path: object) -> Scene:
    return open_scene([str(path)])


def read_first_row(path: object) -> list[int]:
    with look(path).open() as reader:
        return [int(value) for value in reader.dataset.read(1)[0]]


@pytest.mark.parametrize("name", ["scene.tif", "scene.jp2", "scene.png", "scene.dat", "scene", "scene.vrt"])
def test_a_virtual_raster_by_any_name_reads_no_secret(folder: Path, name: str) -> None:
    (folder / name).write_text(RAW.format(crs=UTM33, file=folder.parent / "secret"))
    with pytest.raises(InputError, match=name):
        look(folder / name)
    with pytest.raises(InputError, match=name):
        open_mask(str(folder / name))


def test_trust_lets_it(folder: Path, write_raster: RasterWriter) -> None:
    outside = write_raster("outside.tif", photo(20, 20, 1))
    for name in ("scene.tif", "scene.vrt"):
        (folder / name).write_text(simple(outside, relative=0))
        with pytest.raises(InputError):
            look(folder / name)
        with trust_files():
            assert len(read_first_row(folder / name)) == 20
    assert not is_trusted()


def test_a_service_by_the_name_of_a_scene_asks_no_server(folder: Path, web: str) -> None:
    (folder / "scene.tif").write_text(WMS.format(url=web))
    with pytest.raises(InputError, match="not a raster that can be read"):
        look(folder / "scene.tif")
    (folder / "scene.xml").write_text(WMS.format(url=web))
    with pytest.raises(InputError, match="not a raster that can be read"):
        look(folder / "scene.xml")


def test_inside_an_archive_the_same_holds(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name in ("scene.tif", "scene.vrt"):
            archive.writestr(name, RAW.format(crs=UTM33, file=folder.parent / "secret"))
    for source in (f"/vsizip/{folder}/a.zip/scene.tif", f"zip://{folder}/a.zip!scene.tif"):
        with pytest.raises(InputError, match="not a raster that can be read"):
            look(source)
    for source in (f"/vsizip/{folder}/a.zip/scene.vrt", f"zip://{folder}/a.zip!scene.vrt"):
        with pytest.raises(InputError, match="in an archive or on the web"):
            look(source)


def test_virtual_rasters_of_images_below_them_are_read(folder: Path, write_raster: RasterWriter) -> None:
    tile = write_raster("theirs/tiles/tile.tif", photo(20, 20, 1))
    (folder / "simple.vrt").write_text(simple("tiles/tile.tif"))
    (folder / "nested.vrt").write_text(simple("simple.vrt"))
    with rasterio.open(tile) as dataset, rasterio.vrt.WarpedVRT(dataset, crs="EPSG:4326") as warped:
        rasterio.shutil.copy(warped, folder / "warped.vrt", driver="VRT")
        expected = [int(value) for value in dataset.read(1)[0]]
    assert read_first_row(folder / "simple.vrt") == expected
    assert read_first_row(folder / "nested.vrt") == expected
    assert len(read_first_row(folder / "warped.vrt")) > 10


def test_our_own_virtual_rasters_name_files_anywhere(folder: Path, write_raster: RasterWriter) -> None:
    outside = write_raster("outside.tif", photo(20, 20, 1))
    (folder / "scene.vrt").write_text(simple(outside, relative=0))
    with vouch_for_folder(folder):
        assert len(read_first_row(folder / "scene.vrt")) == 20
    with pytest.raises(InputError, match="does not lie below"):
        look(folder / "scene.vrt")


def test_in_a_data_set_images_anywhere_are_read_but_nothing_else(
    folder: Path, write_raster: RasterWriter
) -> None:
    outside = write_raster("outside.tif", photo(20, 20, 1))
    (folder / "dataset.toml").touch()
    (folder / "images").mkdir()
    (folder / "images/scene.vrt").write_text(simple(outside, relative=0))
    assert len(read_first_row(folder / "images/scene.vrt")) == 20
    (folder / "images/other.vrt").write_text(simple(folder.parent / "secret", relative=0))
    with pytest.raises(InputError, match="no image such as its name says"):
        look(folder / "images/other.vrt")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (simple("../outside.tif"), "does not lie below its own folder"),
        (simple("/etc/passwd", 0), "does not lie below its own folder"),
        (simple("/vsicurl/http://127.0.0.1:9/a.tif", 0), "does not lie below its own folder"),
        (simple("http://127.0.0.1:9/a.tif"), "which is not there"),
        (simple("link.tif"), "does not lie below its own folder"),
        (simple("order.tif"), "no image such as its name says"),
        (simple("tile.dat"), "no image such as its name says"),
        (simple("loop.vrt"), "deep"),
        (simple("tile.tif", attributes=' subClass="VRTDerivedRasterBand"', extra=PYTHON), "never runs"),
        (simple("tile.tif", extra="<OpenOptions/>"), "holds <OpenOptions>"),
        (simple("tile.tif", extra='<Metadata domain="GEOLOCATION"/>'), "the metadata GEOLOCATION"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + simple("tile.tif"), "declares types"),
        ("<VRTDataset", "not a virtual raster"),
        ("", "not a virtual raster"),
        ("<a>" * 100_000, "not a virtual raster"),
    ],
)
def test_virtual_rasters_that_reach_out_are_refused(
    folder: Path, write_raster: RasterWriter, text: str, complaint: str
) -> None:
    outside = write_raster("outside.tif", photo(20, 20, 1))
    tile = write_raster("theirs/tile.tif", photo(20, 20, 1))
    (folder / "tile.dat").write_bytes(tile.read_bytes())
    (folder / "link.tif").symlink_to(outside)
    (folder / "order.tif").write_text(simple(outside, relative=0))
    (folder / "loop.vrt").write_text(simple("loop.vrt"))
    (folder / "scene.vrt").write_text(text)
    with pytest.raises(InputError, match=complaint):
        look(folder / "scene.vrt")


def test_code_is_not_even_run_where_files_are_trusted(
    folder: Path, write_raster: RasterWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", "YES")
    write_raster("theirs/tile.tif", photo(20, 20, 1))
    (folder / "scene.vrt").write_text(
        simple("tile.tif", attributes=' subClass="VRTDerivedRasterBand"', extra=PYTHON)
    )
    with trust_files(), pytest.raises(InputError, match="never runs"):
        look(folder / "scene.vrt")


@pytest.mark.parametrize("suffix", [".ovr", ".msk", ".aux.xml"])
def test_what_lies_beside_an_image_reaches_out_no_more(
    folder: Path, write_raster: RasterWriter, suffix: str
) -> None:
    tile = write_raster("theirs/tile.tif", photo(20, 20, 1))
    notes = '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/passwd</MDI></Metadata></PAMDataset>'
    Path(f"{tile}{suffix}").write_text(notes if suffix == ".aux.xml" else simple("/etc/passwd", 0))
    with pytest.raises(InputError, match=suffix):
        look(tile)


def test_a_mosaic_takes_no_order_for_a_tile(folder: Path, write_raster: RasterWriter) -> None:
    tile = write_raster("theirs/tile.tif", photo(20, 20, 1))
    (folder / "order.tif").write_text(RAW.format(crs=UTM33, file=folder.parent / "secret"))
    with pytest.raises(InputError, match=r"order\.tif: not a raster"):
        open_scene([str(tile), str(folder / "order.tif")])


def test_other_formats_are_read_as_before(tmp_path: Path) -> None:
    for name, driver in (("a.png", "PNG"), ("a.img", "HFA"), ("a.unknown", "GTiff"), ("a.bil", "EHdr")):
        profile = {"driver": driver, "height": 8, "width": 8, "count": 1, "dtype": "uint8", "crs": UTM33}
        transform = rasterio.Affine(1, 0, 5e5, 0, -1, 5e6)
        with rasterio.open(tmp_path / name, "w", transform=transform, **profile) as dataset:
            dataset.write(np.full((1, 8, 8), 7, np.uint8))
        assert read_first_row(tmp_path / name) == [7] * 8


def test_a_layer_takes_no_order(folder: Path) -> None:
    order = "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    for name in ("regions.geojson", "regions.gpkg", "regions.vrt"):
        (folder / name).write_text(order)
        with pytest.raises(InputError, match="makes GDAL read other files"):
            read_layer(folder / name, None)
    with trust_files():
        check_vector_source(folder / "regions.vrt")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_in_archives_become_plain_files(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("images/link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    unpacked = unpack_archive(tmp_path / "a.zip", tmp_path / "out") / "images/link.png"
    assert not unpacked.is_symlink()
    assert unpacked.read_text() == "/etc/passwd"


def test_an_empty_file_is_called_empty(folder: Path) -> None:
    (folder / "scene.tif").touch()
    with pytest.raises(InputError, match=r"scene\.tif: not a raster .*; it is empty: get it again"):
        look(folder / "scene.tif")
