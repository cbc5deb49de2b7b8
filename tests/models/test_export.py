"""Torch models written as ONNX files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made import card, photo
from runtimes import answer

from geoseg.errors import GeosegError, InputError
from geoseg.models import export
from geoseg.models.export import export_onnx, write_model_onnx
from geoseg.models.onnx_graph import read_onnx_graph
from geoseg.models.store import Model, find_model, list_builtin_models

Saver = Callable[..., Model]


@pytest.fixture(scope="module")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    return path, export_onnx(find_model(str(tiny_model)), path)


def test_an_exported_model_answers_as_torch_does(tiny_model: Path, exported: tuple[Path, float]) -> None:
    path, difference = exported
    assert difference < 1e-5
    model, other = find_model(str(tiny_model)), find_model(str(path))
    raw = np.stack([photo(64, 64, seed=seed) for seed in (7, 8)])
    for engine in ("openvino", "onnx"):
        np.testing.assert_allclose(answer(other, raw, engine), answer(model, raw, "torch"), atol=1e-5)


def test_an_exported_model_brings_its_card_along(tiny_model: Path, exported: tuple[Path, float]) -> None:
    original = find_model(str(tiny_model)).card
    assert find_model(str(exported[0])).card == card(name=original.name, weights_sha256="")
    assert [path.name for path in exported[0].parent.iterdir()] == ["tiny.onnx"]


def test_an_exported_model_says_to_deepness_what_it_needs(exported: tuple[Path, float]) -> None:
    keys = {prop.key: prop.value for prop in onnx.load(exported[0]).metadata_props}
    told = {name: json.loads(value) for name, value in keys.items()}
    assert told["model_type"] == "Segmentor"
    assert told["class_names"] == {"0": "background", "1": "building"}
    assert told["resolution"] == pytest.approx(30)
    assert told["tiles_size"] == told["tile_size"] == 64
    assert told["seg_thresh"] == 0.5
    np.testing.assert_allclose(told["standardization_mean"], [0.4] * 3)
    np.testing.assert_allclose(told["standardization_std"], [0.2] * 3)


def test_an_export_that_answers_otherwise_is_not_kept(
    exported: tuple[Path, float],
    small_unet: Callable[..., Any],
    saved: Saver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exporter that errs is played by one that writes another network."""
    monkeypatch.setattr(export, "convert_network", lambda *_: onnx.load(exported[0]))
    model = saved(small_unet())
    with pytest.raises(GeosegError, match=r"other.onnx: not written, since its answers differ .* by 0\.\d+"):
        export_onnx(model, tmp_path / "other.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_an_exporter_that_gives_up_is_told_of_by_the_name_of_the_file(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: object) -> None:
        raise RuntimeError("no such\noperation")

    monkeypatch.setattr(export, "trace_network", give_up)
    monkeypatch.setattr(export, "export_network", give_up)
    with pytest.raises(
        GeosegError, match=r"new.onnx: torch cannot write this network .*\(no such operation\)$"
    ):
        export_onnx(find_model(str(tiny_model)), tmp_path / "new.onnx")
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_no_reason_for_the_other_exporter(
    tiny_model: Path, exported: tuple[Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    export_onnx(find_model(str(tiny_model)), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported[0].read_bytes()


def test_exports_that_cannot_be_are_refused(
    tiny_model: Path, exported: tuple[Path, float], tmp_path: Path
) -> None:
    model = find_model(str(tiny_model))
    with pytest.raises(InputError, match="exists already; use `overwrite`"):
        export_onnx(model, exported[0])
    with pytest.raises(InputError, match=r"give a name that ends in .onnx"):
        export_onnx(model, tmp_path / "model.pt")
    with pytest.raises(InputError, match="missing does not exist"):
        export_onnx(model, tmp_path / "missing" / "model.onnx")
    with pytest.raises(InputError, match="is an ONNX model already"):
        export_onnx(find_model(str(exported[0])), tmp_path / "again.onnx")


@pytest.mark.parametrize("half", [True, False])
def test_weights_keep_their_bits(
    small_unet: Callable[..., Any], saved: Saver, tmp_path: Path, half: bool
) -> None:
    network = small_unet()
    model = saved(network.half() if half else network)
    write_model_onnx(model, tmp_path / "model.onnx")
    kinds = {
        each.data_type
        for each in onnx.load(tmp_path / "model.onnx").graph.initializer
        if len(each.raw_data) > 256
    }
    assert kinds == {onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT}
    raw = photo(64, 64)[None]
    found = answer(replace(model, weights=tmp_path / "model.onnx"), raw)
    np.testing.assert_allclose(found, answer(model, raw, "torch"), atol=1e-5)


def test_a_network_that_fixes_its_size_is_written_for_it(
    saved: Saver, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Pooling to a grid is beyond the quick exporter, which then would print the whole network."""
    import segmentation_models_pytorch as smp

    network = smp.PSPNet("resnet18", encoder_weights=None, psp_out_channels=16).eval()
    model = saved(network)
    write_model_onnx(model, tmp_path / "model.onnx")
    assert "graph" not in "".join(capfd.readouterr())
    assert read_onnx_graph(tmp_path / "model.onnx").takes == (None, 3, 64, 64)
    raw = photo(64, 64)[None]
    found = answer(replace(model, weights=tmp_path / "model.onnx"), raw)
    np.testing.assert_allclose(found, answer(model, raw, "torch"), atol=1e-5)


@pytest.mark.parametrize("name", list_builtin_models())
def test_a_built_in_model_answers_from_its_file_as_from_its_weights(name: str) -> None:
    model = find_model(name)
    raw = photo(128, 128, len(model.card.bands), "uint8")[None]
    expected = answer(model, raw, "torch")
    for engine in ("openvino", "onnx"):
        np.testing.assert_allclose(answer(model, raw, engine), expected, atol=1e-5)
