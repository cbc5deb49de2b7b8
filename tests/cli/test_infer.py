"""The command as people run it: what it writes, and the one line it gives for each kind of bad input."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner, Result
from made import HERE, RasterWriter, photo

from geoseg.cli.main import geoseg
from geoseg.io import atomic

Run = Callable[..., Result]


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Run:
    """Run `geoseg infer` with the tiny model, in torch and full precision unless told otherwise."""

    def run_command(*arguments: object, **options: object) -> Result:
        settings = {"model": tiny_model, "engine": "torch", "precision": "fp32", "device": "cpu", **options}
        flags = [
            item
            for name, value in settings.items()
            if value is not None
            for item in (f"--{name}", str(value))
        ]
        return CliRunner().invoke(geoseg, ["infer", *map(str, arguments), *flags])

    return run_command


def pixels(path: Path) -> Any:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture
def scene(write_raster: RasterWriter) -> Path:
    return write_raster("scene.tif", photo(300, 220), nodata=0, tiled=True, blockxsize=64, blockysize=64)


@pytest.fixture
def blobs(write_raster: RasterWriter) -> Path:
    """Smooth light and dark patches, on which even random weights draw outlines."""
    noise = np.random.default_rng(1).random((3, 40, 30))
    grown = np.kron(noise, np.ones((10, 10)))
    return write_raster("blobs.tif", (grown * 255).astype("uint8"))


def test_mask_and_probability_agree_and_tell_where_they_come_from(
    run: Run, scene: Path, tmp_path: Path
) -> None:
    mask, probability = tmp_path / "mask.tif", tmp_path / "probability.tif"
    done = run(scene, "--json", mask=mask, probability=probability)
    assert done.exit_code == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["outputs"] == [str(mask), str(probability)]
    assert "CPU" in done.stderr
    with rasterio.open(mask) as m, rasterio.open(probability) as p, rasterio.open(scene) as s:
        assert m.crs == p.crs == s.crs
        assert m.transform.almost_equals(s.transform)
        assert m.shape == s.shape
        assert (m.nodata, p.nodata, p.scales) == (255, 255, (0.004,))
        assert p.descriptions == ("building",)
        assert m.colormap(1)[1][:3] == (0xE4, 0x57, 0x2E)
        assert json.loads(m.tags()["GEOSEG"])["model"] == "tiny"
        values = p.read(1)
        decided = values.astype(float) * 0.004 >= 0.5
        certain = np.abs(values.astype(int) - 125) > 0
        assert (m.read(1) == decided)[certain].all()
    assert 'label="building"' in mask.with_suffix(".qml").read_text()
    assert not list(tmp_path.glob("*.parts"))


def test_a_mask_and_footprints_of_one_stem_both_keep_their_styles(
    run: Run, scene: Path, tmp_path: Path
) -> None:
    assert run(scene, out=tmp_path / "town.fgb", mask=tmp_path / "town.tif").exit_code == 0
    style = (tmp_path / "town.qml").read_text()
    assert "<renderer-v2" in style
    assert 'label="building"' in style


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (63, 65), (530, 600)])
def test_outputs_of_any_size_are_cloud_optimised(
    run: Run, write_raster: RasterWriter, tmp_path: Path, size: tuple[int, int]
) -> None:
    from rio_cogeo.cogeo import cog_validate

    mask = tmp_path / "mask.tif"
    assert run(write_raster("s.tif", photo(*size)), mask=mask).exit_code == 0
    valid, errors, _ = cog_validate(mask)
    assert valid, errors
    with rasterio.open(mask) as dataset:
        assert bool(dataset.overviews(1)) == (max(size) > 512)


def test_unknown_pixels_are_nodata_in_all_outputs(
    run: Run, write_raster: RasterWriter, tmp_path: Path
) -> None:
    values = photo(100, 100, dtype="float32")
    values[1, 20:30, 40:60] = np.nan
    values[0, 70, 70] = np.inf
    scene = write_raster("s.tif", values)
    mask, probability = tmp_path / "m.tif", tmp_path / "p.tif"
    assert run(scene, mask=mask, probability=probability).exit_code == 0
    unknown = np.zeros((100, 100), bool)
    unknown[20:30, 40:60] = unknown[70, 70] = True
    for path in (mask, probability):
        assert ((pixels(path)[0] == 255) == unknown).all()


def test_a_fine_scene_is_read_at_the_models_resolution(
    run: Run, write_raster: RasterWriter, tmp_path: Path
) -> None:
    fine = write_raster("s.tif", photo(400, 300), transform=HERE @ Affine.scale(1 / 3))
    mask = tmp_path / "m.tif"
    for gsd, shape in (("auto", (133, 100)), ("native", None), ("0.2", (200, 150))):
        done = run(fine, "--overwrite", mask=mask, gsd=gsd)
        if shape is None:
            assert done.exit_code == 2
            assert "outside the 0.15 to 0.6 m" in done.stderr
            continue
        assert done.exit_code == 0, done.stderr
        with rasterio.open(mask) as dataset, rasterio.open(fine) as original:
            assert dataset.shape == shape
            assert dataset.bounds == pytest.approx(original.bounds)


def test_degrees_become_square_metres(run: Run, write_raster: RasterWriter, tmp_path: Path) -> None:
    degrees = write_raster(
        "s.tif",
        photo(200, 200),
        crs="EPSG:4326",
        transform=Affine.translation(13.4, 52.5) @ Affine.scale(4e-6, -4e-6),
    )
    mask = tmp_path / "m.tif"
    assert run(degrees, mask=mask).exit_code == 0
    with rasterio.open(mask) as dataset:
        assert dataset.crs.to_epsg() == 4326
        # 0.445 m down and 0.272 m across: as many square pixels of 0.348 m, near enough to the model's 0.3 m.
        assert dataset.shape == (256, 156)


def test_coarse_scenes_are_refined_with_a_warning(
    run: Run, write_raster: RasterWriter, tmp_path: Path
) -> None:
    coarse = write_raster("s.tif", photo(40, 40), transform=HERE @ Affine.scale(4))
    done = run(coarse, mask=tmp_path / "m.tif")
    assert done.exit_code == 0
    assert "2.0 times coarser than the 0.6 m" in done.stderr
    with rasterio.open(tmp_path / "m.tif") as dataset:
        assert dataset.shape == (80, 80)


def test_sixteen_bit_scenes_are_stretched_like_the_model_expects(
    run: Run, write_raster: RasterWriter, tmp_path: Path
) -> None:
    values = photo(150, 150)
    bytes_mask, words_mask = tmp_path / "a.tif", tmp_path / "b.tif"
    assert run(write_raster("8.tif", values), mask=bytes_mask).exit_code == 0
    assert run(write_raster("16.tif", (values.astype("uint16") * 40)), mask=words_mask).exit_code == 0
    assert (pixels(bytes_mask) == pixels(words_mask)).mean() > 0.97


def test_several_workers_change_no_bit(
    tiny_model: Path, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.inference import loaded
    from geoseg.workflows.infer import infer_scene
    from geoseg.workflows.options import InferOptions

    monkeypatch.setattr("geoseg.raster.plan.STRIP_PIXELS", 20_000)
    options = InferOptions(model=str(tiny_model), engine="torch", precision="fp32", device="cpu")
    infer_scene([str(scene)], None, replace(options, mask=tmp_path / "one.tif"))
    monkeypatch.setattr(loaded, "find_devices", lambda request: ["cpu", "cpu", "cpu"])
    infer_scene([str(scene)], None, replace(options, mask=tmp_path / "three.tif"))
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "three.tif").read_bytes()


def test_a_dry_run_tells_and_writes_nothing(run: Run, scene: Path, tmp_path: Path) -> None:
    done = run(scene, "--dry-run", mask=tmp_path / "m.tif")
    assert done.exit_code == 0
    assert "Memory" in done.stdout
    assert "12 patches of 88 pixels, 8 of them shared" in done.stderr
    assert "1 patch of 320 pixels\n" in run(scene, "--dry-run", mask=tmp_path / "m.tif", patch=320).stderr
    told = json.loads(run(scene, "--dry-run", "--json", "--quiet", mask=tmp_path / "m.tif").stdout)
    assert set(told) == {"memory_bytes", "disk_bytes", "seconds", "patches", "strips", "missing"}
    assert told["missing"] == list(range(1, told["strips"] + 1))
    assert {path.name for path in tmp_path.iterdir()} == {"scene.tif"}


SLOW_STRIPS = """
import sys
from pathlib import Path
import geoseg.raster.plan as plan
plan.STRIP_PIXELS = 5000
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions
model, scene, mask, probability = sys.argv[1:]
infer_scene([scene], None, InferOptions(mask=mask, probability=probability, model=model, engine="openvino", precision="fp32", device="cpu"))
"""


@pytest.mark.parametrize("hurt", [False, True], ids=["", "and a disk damaged strips"])
def test_killed_it_goes_on_to_the_same_bytes(
    run: Run,
    tiny_model: Path,
    write_raster: RasterWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hurt: bool,
) -> None:
    scene = write_raster("scene.tif", photo(900, 400))
    whole, killed = ([tmp_path / f"{name}-{product}.tif" for product in "mp"] for name in ("whole", "killed"))
    with subprocess.Popen([sys.executable, "-c", SLOW_STRIPS, tiny_model, scene, *killed]) as process:
        while process.poll() is None and len(list(tmp_path.glob("*.parts/classes-*"))) < 3:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert not killed[0].exists()
    cut, emptied, *_ = sorted(tmp_path.glob("*.parts/classes-*"))
    if hurt:
        cut.write_bytes(cut.read_bytes()[:-100])
        emptied.write_bytes(b"")
    monkeypatch.setattr("geoseg.raster.plan.STRIP_PIXELS", 5000)
    for mask, probability in (whole, killed):
        done = run(scene, mask=mask, probability=probability, engine="openvino")
        assert done.exit_code == 0, done.stderr
    assert [file.read_bytes() for file in killed] == [file.read_bytes() for file in whole]
    assert not list(tmp_path.glob("*.parts"))


def test_stopped_between_its_files_the_same_command_goes_on(
    run: Run, blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    outputs = {"mask": folder / "m.tif", "probability": folder / "p.tif", "out": folder / "b.gpkg"}
    whole = run(blobs, **outputs)
    assert whole.exit_code == 0, whole.stderr
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    for stops in (1, 3):
        with monkeypatch.context() as patch:
            stop_after_renames(stops, patch)
            assert run(blobs, **outputs).exit_code == 130
        done = run(blobs, **outputs)
        assert done.exit_code == 0, done.stderr
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
        for path in folder.iterdir():
            path.unlink()


def stop_after_renames(number: int, patch: pytest.MonkeyPatch) -> None:
    """Stop delivering once a number of files have their names."""

    def rename(staged: dict[Path, Path]) -> None:
        for path, file in list(staged.items())[: number if len(staged) > 2 else None]:
            os.replace(file, path)
        if len(staged) > 2:
            raise KeyboardInterrupt

    patch.setattr(atomic, "rename_files", rename)


def test_a_model_without_numbers_is_refused(tiny_model: Path, scene: Path, tmp_path: Path) -> None:
    """Weights that overflow in half precision, or that are damaged, answer with NaN everywhere."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(tiny_model, folder)
    (folder / "model.onnx").unlink()
    weights = load_file(folder / "model.safetensors")
    weights["segmentation_head.0.bias"][:] = np.nan
    save_file(weights, folder / "model.safetensors")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "weights_sha256": ""}))
    flags = "--model", str(folder), "--engine", "torch", "--device", "cpu", "--precision", "fp32"
    done = CliRunner().invoke(geoseg, ["infer", str(scene), "--mask", str(tmp_path / "m.tif"), *flags])
    assert done.exit_code == 1
    assert "no number (NaN) for every pixel" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"scene.tif", "broken"}


def test_footprints_are_those_of_the_mask(run: Run, tmp_path: Path, blobs: Path) -> None:
    """Traced strip by strip while the model works, or afterwards from the finished rasters: the same file."""
    mask, probability, out, again = (tmp_path / name for name in ("m.tif", "p.tif", "a.gpkg", "b.gpkg"))
    done = run(blobs, "--json", mask=mask, probability=probability, out=out)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["footprints"] > 5
    flags = ["--out", again, "--probability", probability, "--class", "1=building", "--quiet"]
    vectorized = CliRunner().invoke(geoseg, ["vectorize", str(mask), *map(str, flags)])
    assert vectorized.exit_code == 0, vectorized.stderr
    assert out.read_bytes() == again.read_bytes()


def test_footprints_alone_are_written_with_a_project(run: Run, tmp_path: Path, blobs: Path) -> None:
    import pyogrio

    out, project = tmp_path / "b.gpkg", tmp_path / "b.qgz"
    done = run(blobs, out=out, **{"qgis-project": project, "regions": "grid:30m"})
    assert done.exit_code == 0, done.stderr
    assert re.search(r": \d+ footprints, .* m², .*\d+ regions\n", done.stdout)
    assert project.exists()
    assert {"buildings", "regions"} <= set(pyogrio.list_layers(out)[:, 0])


@pytest.mark.parametrize(
    ("option", "code"), [({"assume-crs": "EPSG:32633"}, "EPSG:32633"), ({"gsd": 0.3}, "")]
)
def test_a_project_shows_an_image_that_names_no_crs(
    run: Run, tmp_path: Path, blobs: Path, option: dict[str, Any], code: str
) -> None:
    with (
        rasterio.open(blobs) as dataset,
        rasterio.open(tmp_path / "bare.tif", "w", **{**dataset.profile, "crs": None}) as bare,
    ):
        bare.write(dataset.read())
    done = run(
        tmp_path / "bare.tif", out=tmp_path / "b.gpkg", **{"qgis-project": tmp_path / "b.qgz", **option}
    )
    assert done.exit_code == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "b.qgz") as archive:
        layers = list(ElementTree.fromstring(archive.read("b.qgs")).iter("maplayer"))
    assert [layer.findtext("srs/spatialrefsys/authid") for layer in layers] == [code, code]


def test_bad_footprint_outputs_give_one_line(run: Run, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "there.gpkg").write_text("precious")
    (tmp_path / "there.fgb").write_text("precious")
    one_line(run(scene, out=tmp_path / "b.doc"), 2, ".doc")
    one_line(run(scene, out=tmp_path / "there.gpkg"), 2, "there.gpkg")
    one_line(run(scene, out=tmp_path / "there.fgb"), 2, "--overwrite")
    one_line(run(scene, mask=tmp_path / "m.tif", **{"qgis-project": tmp_path / "b.qgz"}), 2, "give --out")
    one_line(run(scene, out=tmp_path / "b.gpkg", regions="nowhere.gpkg"), 2, "nowhere.gpkg")
    one_line(run(scene, out=tmp_path / "b.gpkg", **{"min-area": -1}), 2, "--min-area -1")
    one_line(run(scene, out=tmp_path / "b.gpkg", **{"area-crs": "EPSG:4326"}), 2, "EPSG:4326")
    assert not list(tmp_path.glob("*.parts"))


def test_other_parameters_never_reuse_strips(
    run: Run, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.inference import resume as journal

    mask = tmp_path / "m.tif"
    write = journal.write_strip
    monkeypatch.setattr(journal, "write_strip", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(scene, mask=mask).exit_code == 130
    monkeypatch.setattr(journal, "write_strip", write)
    left = list(tmp_path.glob("*.parts"))
    assert len(left) == 1
    done = run(scene, mask=mask, threshold=0.4)
    assert done.exit_code == 0
    assert str(left[0]) in done.stderr
    assert "Going on" not in done.stderr


def test_progress_is_silent_when_asked(run: Run, scene: Path, tmp_path: Path) -> None:
    done = run(scene, "--quiet", mask=tmp_path / "m.tif")
    assert done.stderr == ""
    assert done.stdout == f"{tmp_path / 'm.tif'}\n"


class Malicious:
    """A pickle that, when loaded, makes a file where its class variable says."""

    proof = Path()

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def model_copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def without_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "model.onnx").unlink(missing_ok=True)


def truncated_weights(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    edit_card(model, weights_sha256="")


def exchanged_weights(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")


def malicious_weights(model: Path) -> None:
    without_weights(model)
    Malicious.proof = model.parent / "executed"
    (model / "model.pth").write_bytes(pickle.dumps(Malicious()))
    edit_card(model, weights_sha256="")


def without_card(model: Path) -> None:
    (model / "card.json").unlink()


def broken_card(model: Path) -> None:
    (model / "card.json").write_text("{")


def misspelt_card(model: Path) -> None:
    edit_card(model, treshold=0.4)


def without_architecture(model: Path) -> None:
    (model / "config.json").unlink()


def unknown_architecture(model: Path) -> None:
    edit(model / "config.json", _model_class="Skynet")


def other_architecture(model: Path) -> None:
    edit(model / "config.json", decoder_channels=[32, 16, 8])


def eleven_bands(model: Path) -> None:
    edit_card(model, bands=[f"B{i}" for i in range(11)])


def edit_card(model: Path, **changes: object) -> None:
    edit(model / "card.json", **changes)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_weights, "holds no model"),
        (truncated_weights, "damaged"),
        (exchanged_weights, "sha256"),
        (malicious_weights, "could run code"),
        (without_card, "has no card.json"),
        (broken_card, "not a usable model card"),
        (misspelt_card, "unknown field 'treshold'"),
        (without_architecture, "architecture cannot be read"),
        (unknown_architecture, "unknown architecture 'Skynet'"),
        (other_architecture, "does not fit the architecture"),
        (eleven_bands, "3 entries for 11 bands"),
    ],
)
def test_a_spoilt_model_gives_one_line(
    run: Run, scene: Path, tiny_model: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    model = model_copy(tiny_model, tmp_path)
    spoil(model)
    one_line(run(scene, mask=tmp_path / "m.tif", model=model), 2, message)
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "m.tif").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "--patch 0"),
        ({"patch": -64}, "--patch -64"),
        ({"patch": 100}, "multiple of 8"),
        ({"patch": 10**9}, "larger than any model"),
        ({"overlap": -1}, "--overlap -1"),
        ({"overlap": 64}, "0 to 32"),
        ({"threshold": 0}, "--threshold 0"),
        ({"threshold": 1.5}, "--threshold 1.5"),
        ({"threshold": "nan"}, "--threshold nan"),
        ({"batch": 0}, "--batch 0"),
        ({"gsd": 0}, "--gsd 0"),
        ({"gsd": "-0.3"}, "--gsd -0.3"),
        ({"gsd": "fine"}, "--gsd fine"),
        ({"gsd": "10"}, "outside the 0.15 to 0.6 m"),
        ({"bands": "1,2"}, "2 given, but tiny wants 3"),
        ({"bands": "1,2,7"}, "has no band '7'"),
        ({"bands": "red,green,swir"}, "has no band 'swir'"),
        ({"device": "cuda:99"}, "--device cuda:99: not there"),
        ({"device": "quantum"}, "--device quantum: not there"),
        ({"engine": "onnx", "precision": "bf16"}, "--precision bf16: not possible"),
        ({"engine": "abacus"}, "'abacus' is not one of"),
        ({"precision": "fp16"}, "--precision fp16: not possible"),
        ({"model": "/nowhere"}, "no such folder"),
        ({"model": "unheard-of"}, "no built-in model"),
        ({"assume-crs": "EPSG:1"}, "--assume-crs EPSG:1"),
    ],
)
def test_a_bad_option_gives_one_line(
    run: Run, scene: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    one_line(run(scene, **{"mask": tmp_path / "m.tif", **options}), 2, message)
    assert {path.name for path in tmp_path.iterdir()} == {"scene.tif"}


def test_a_threshold_for_a_model_of_several_classes_gives_one_line(
    run: Run, write_raster: RasterWriter, tmp_path: Path
) -> None:
    scene = write_raster("ten.tif", photo(64, 64, 4), transform=HERE @ Affine.scale(100 / 3))
    options = {"model": "sentinel2-builtup", "bands": "1,2,3,4", "threshold": 0.4}
    one_line(
        run(scene, mask=tmp_path / "m.tif", **options), 2, "--threshold 0.4: sentinel2-builtup tells several"
    )


def test_bad_outputs_give_one_line(run: Run, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "there.tif").write_text("precious")
    (tmp_path / "folder.tif").mkdir()
    outputs = {
        "nothing to write": None,
        "is itself read": scene,
        "exists already; use --overwrite": tmp_path / "there.tif",
        "is a folder": tmp_path / "folder.tif",
        "there is no folder": tmp_path / "no" / "m.tif",
        "a raster ends in .tif": tmp_path / "m.jpg",
    }
    for message, mask in outputs.items():
        one_line(run(scene, mask=mask), 2, message)
    one_line(run(scene, "--shard", "1/2", "--overwrite"), 2, "nothing to write")
    one_line(run(scene, mask=tmp_path / "m.tif", probability=tmp_path / "m.tif"), 2, "named for two outputs")
    assert (tmp_path / "there.tif").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable to root")
def test_an_unwritable_folder_gives_one_line(run: Run, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    one_line(run(scene, mask=tmp_path / "locked" / "m.tif"), 2, "no right to write")


def test_scenes_without_content_give_one_line(run: Run, write_raster: RasterWriter, tmp_path: Path) -> None:
    nothing = write_raster("nothing.tif", np.zeros((3, 50, 50), "uint8"), nodata=0)
    one_line(run(nothing, mask=tmp_path / "m.tif"), 2, "holds no valid pixel")
    negative = write_raster("negative.tif", photo(50, 50, dtype="int16") - 9000)
    assert run(negative, mask=tmp_path / "m.tif").exit_code == 0


def test_values_a_model_cannot_use_are_refused(
    run: Run, tiny_model: Path, write_raster: RasterWriter, tmp_path: Path
) -> None:
    model = model_copy(tiny_model, tmp_path)
    scaling = json.loads((model / "card.json").read_text())["scaling"]
    edit_card(model, scaling={**scaling, "stretch": "never"})
    scene = write_raster("s.tif", photo(50, 50, dtype="uint16") * 50)
    one_line(run(scene, mask=tmp_path / "m.tif", model=model), 2, "expects 0 to 255")


def test_a_damaged_block_is_named_and_can_be_left_out(
    run: Run, write_raster: RasterWriter, tmp_path: Path
) -> None:
    path = write_raster(
        "s.tif", photo(256, 256), tiled=True, blockxsize=64, blockysize=64, compress="deflate"
    )
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_2", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + 100] = b"\xff" * 100
    path.write_bytes(content)
    mask = tmp_path / "m.tif"
    one_line(run(path, mask=mask), 2, "rows 128-191, columns 64-127")
    assert not mask.exists()
    assert run(path, mask=mask, **{"on-read-error": "nodata"}).exit_code == 0
    unknown = pixels(mask)[0] == 255
    assert unknown[128:192, 64:128].all()
    assert unknown.sum() == 64 * 64


FULL_DISK = """
import resource, signal, sys
sys.dont_write_bytecode = True  # Python would leave what it compiled cut off where the limit is
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
from geoseg.cli.main import main
main()
"""


def test_a_full_disk_gives_one_line_and_nothing_half_written(
    tiny_model: Path, write_raster: RasterWriter, tmp_path: Path
) -> None:
    scene = write_raster("s.tif", photo(600, 600))
    mask, probability = tmp_path / "m.tif", tmp_path / "p.tif"
    flags = ["--model", str(tiny_model), "--engine", "openvino", "--precision", "fp32", "--quiet"]
    outputs = ["--mask", str(mask), "--probability", str(probability)]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "infer", str(scene), *flags, *outputs],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "could not be written: " in done.stderr.strip().splitlines()[-1]
    assert "See previous exception" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not mask.exists()
    assert not probability.exists()


def test_a_second_run_of_the_same_job_is_kept_away(
    run: Run, scene: Path, tmp_path: Path, tiny_model: Path
) -> None:
    from geoseg.inference.job import plan_job
    from geoseg.inference.resume import Journal
    from geoseg.workflows.options import InferOptions

    options = InferOptions(model=str(tiny_model), engine="torch", precision="fp32", device="cpu")
    journal = Journal.beside(tmp_path / "m.tif", plan_job([str(scene)], options).key)
    with journal.locked("another"):
        one_line(run(scene, mask=tmp_path / "m.tif"), 1, "another run")


def test_debug_shows_where(run: Run, tmp_path: Path) -> None:
    done = run(tmp_path / "missing.tif", "--debug", mask=tmp_path / "m.tif")
    assert done.exit_code == 2
    assert "Traceback" in done.stderr


def test_help_stands_with_the_other_messages() -> None:
    text = CliRunner().invoke(geoseg, ["infer", "--help"]).output
    assert "--help" in text.partition("\nMessages:")[2]


def test_help_tells_every_option() -> None:
    told = CliRunner().invoke(geoseg, ["infer", "--help"]).stdout
    for option in ("--mask", "--gsd", "--tta", "--engine", "--on-read-error", "--dry-run", "Examples:"):
        assert option in told


def one_line(done: Result, exit_code: int, message: str) -> None:
    """An error is one line that says what and why, and nothing else."""
    assert done.exit_code == exit_code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: "), done.stderr
    assert message in last
    assert "Traceback" not in done.stderr


def test_project_and_report_show_every_image_of_a_mosaic(run: Run, tmp_path: Path, blobs: Path) -> None:
    halves = [tmp_path / name for name in ("west.tif", "east.tif")]
    with rasterio.open(blobs) as whole:
        values, profile, middle = whole.read(), whole.profile, whole.width // 2
        shift = whole.transform @ Affine.translation(middle, 0)
    for path, part, transform in (
        (halves[0], values[..., :middle], profile["transform"]),
        (halves[1], values[..., middle:], shift),
    ):
        with rasterio.open(
            path, "w", **{**profile, "width": part.shape[-1], "transform": transform}
        ) as image:
            image.write(part)
            image.update_tags(TIFFTAG_COPYRIGHT="Town of Blobs")
    shown = {}
    for name, scenes in (("whole", [blobs]), ("halves", halves)):
        report, project = tmp_path / f"{name}.html", tmp_path / f"{name}.qgz"
        done = run(*scenes, out=tmp_path / f"{name}.gpkg", report=report, **{"qgis-project": project})
        assert done.exit_code == 0, done.stderr
        shown[name] = re.search(r'"bounds":(\[\[.*?\]\])', report.read_text(encoding="utf-8"))[1]
    assert shown["halves"] == shown["whole"]
    assert "west.tif and 1 more" in report.read_text(encoding="utf-8")
    assert "Town of Blobs" in report.read_text(encoding="utf-8")
    with zipfile.ZipFile(project) as archive:
        layers = list(ElementTree.fromstring(archive.read("halves.qgs")).iter("maplayer"))
    assert [layer.findtext("layername") for layer in layers] == [
        "Buildings", "Image 1: west.tif", "Image 2: east.tif",
    ]  # fmt: skip
    assert len({layer.findtext("id") for layer in layers}) == 3
