from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import gaierror
from types import SimpleNamespace

import pytest
import torch
from heard import Heard
from made import card
from squares import quick

from geoseg.errors import InputError
from geoseg.models.card import Card, Scaling
from geoseg.models.network import list_architectures, load_network
from geoseg.models.store import find_model, save_model
from geoseg.raster.palette import ClassEntry
from geoseg.scores.calibration import TemperatureScaling
from geoseg.training.data import parse_derived_bands
from geoseg.training.networks import adapt_network, apply_temperature, create_network, refuse_unknown_network
from geoseg.training.options import TrainOptions

SMALL = {
    "FPN": "{'decoder_pyramid_channels': 16, 'decoder_segmentation_channels': 32}",
    "deeplabv3+": "{'decoder_channels': 16}",
    "PSPNet": "{'psp_out_channels': 16}",
    "unet++": "{'encoder_depth': 3, 'decoder_channels': [16, 8, 8]}",
    "unet-plain": "{'encoder_depth': 2, 'width': 8}",
}


def water(outputs: int = 3, bands: tuple[str, ...] = ("red", "green", "nir")) -> Card:
    names = ("background", "building", "water", "road")[: max(2, outputs)]
    classes = tuple(ClassEntry(name, "#336699") for name in names)
    return card(
        bands=bands, scaling=Scaling(), classes=classes, activation="softmax" if outputs > 2 else "sigmoid"
    )


@pytest.mark.parametrize("name", SMALL)
def test_architectures_by_name_for_any_bands_and_classes(name: str, tmp_path: Path) -> None:
    given = water(4, ("red", "green", "blue", "nir"))
    settings = quick(architecture=name, weights="none", arguments=SMALL[name])
    network = create_network(settings, given).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 4, 64, 64)).shape == (2, 4, 64, 64)
    assert save_model(tmp_path, network, given).card.class_channels == 4


SMALLEST_ENCODER = {"DPT": "tu-vit_tiny_patch16_224", "PlainUnet": "none"}
SMALLEST_SHAPE = {
    "DPT": "{'decoder_intermediate_channels': [16, 16, 16, 16], 'decoder_fusion_channels': 16, 'dynamic_img_size': true}",
    "PlainUnet": "{'encoder_depth': 2, 'width': 8}",
    "MAnet": "{'decoder_channels': [32, 16, 16, 8, 8]}",
}
SIDE = 128
"""PAN takes no smaller patches."""


@pytest.mark.parametrize("name", list_architectures())
def test_every_architecture_can_be_trained_calibrated_written_and_read_back(
    name: str, tmp_path: Path
) -> None:
    settings = quick(
        architecture="unet-plain" if name == "PlainUnet" else name,
        encoder=SMALLEST_ENCODER.get(name, "tu-mobilenetv3_small_050"),
        weights="none",
        arguments=SMALLEST_SHAPE.get(name, "{}"),
    )
    given, inputs = water(3), torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    network = create_network(settings, given)
    network(inputs).square().mean().backward()
    network.eval()
    with torch.inference_mode():
        before = network(inputs)
        apply_temperature(network, TemperatureScaling(2.5, 0.7), 3)
        after = network(inputs)
    assert before.shape == (2, 3, SIDE, SIDE)
    assert torch.allclose(after, before / 2.5 + 0.7, atol=1e-4)
    again = load_network(save_model(tmp_path, network, given))
    with torch.inference_mode():
        assert torch.equal(again(inputs), after)


class Hub(BaseHTTPRequestHandler):
    """Answers everything with the status that stands first in the path."""

    def do_HEAD(self) -> None:
        self.send_error(int(self.path.split("/")[1]))

    def do_GET(self) -> None:
        self.do_HEAD()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def broken_hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


UNREACHABLE = {
    "no such name": gaierror(-2, "Name or service not known"),
    "refused": ConnectionRefusedError(111, "Connection refused"),
    "no answer": TimeoutError("timed out"),
    "offline": None,
    "forbidden": 403,
    "gone": 404,
    "overloaded": 503,
}


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "tu-mobilenetv3_small_050"])
@pytest.mark.parametrize("why", UNREACHABLE)
def test_weights_that_cannot_be_had_are_told_once_and_training_starts_from_scratch(  # noqa: PLR0917
    why: str,
    encoder: str,
    broken_hub: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    heard: Heard,
) -> None:
    """The hub's own client runs; only the network below it, its cache and its patience are replaced."""
    from huggingface_hub import close_session, constants
    from huggingface_hub.utils import _http

    answer = UNREACHABLE[why]

    def no_address(*_: object, **__: object) -> None:
        assert isinstance(answer, OSError)
        raise answer

    if isinstance(answer, OSError):
        monkeypatch.setattr(socket, "getaddrinfo", no_address)
    if isinstance(answer, int):
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{broken_hub}/{answer}{template}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", why == "offline")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None, time=time.time))
    close_session()
    settings = quick(architecture="unet", encoder=encoder, weights="imagenet", arguments="{}")
    network = create_network(settings, card())
    close_session()
    assert isinstance(network, torch.nn.Module)
    (line,) = heard.warnings
    assert line.startswith(f"`weights` imagenet: cannot be had for {encoder} (")
    assert line.endswith("from scratch")
    assert "\n" not in line
    assert all(record.name.startswith("geoseg") for record in caplog.records)


def test_a_start_keeps_what_fits_by_name(tmp_path: Path) -> None:
    settings = quick(architecture="unet-plain", arguments=SMALL["unet-plain"])
    old_card = water(3)
    old = create_network(settings, old_card)
    model = save_model(tmp_path, old, old_card)
    new_card = water(4, ("nir", "red", "swir"))
    new = adapt_network(find_model(str(model.weights.parent)), new_card)
    one, two = old.state_dict(), new.state_dict()
    first, last = "encoder.0.0.weight", "segmentation_head.weight"
    assert torch.equal(two[first][:, 0], one[first][:, 2])
    assert torch.equal(two[first][:, 1], one[first][:, 0])
    assert torch.allclose(two[first][:, 2], one[first].mean(1))
    assert torch.equal(two[last][:3], one[last])
    between = [name for name in one if name not in (first, last, "segmentation_head.bias")]
    assert all(torch.equal(one[name], two[name]) for name in between)


def test_cooling_changes_the_logits() -> None:
    for name in ("unet-plain", "FPN", "deeplabv3+"):
        settings = quick(architecture=name, weights="none", arguments=SMALL[name])
        network = create_network(settings, water(3)).eval()
        inputs = torch.randn(1, 3, 64, 64)
        with torch.inference_mode():
            before = network(inputs)
            apply_temperature(network, TemperatureScaling(2.5, 0.7), 3)
            assert torch.allclose(network(inputs), before / 2.5 + 0.7, atol=1e-5)


def test_indices_know_bands_by_colour_and_by_sentinels_names() -> None:
    (ndvi,) = parse_derived_bands("ndvi", ("B4", "B8"))
    assert ndvi.formula == "(B8 - B4) / (B8 + B4)"
    two = parse_derived_bands("mndwi; ratio = nir / red", ("red", "green", "nir", "swir"))
    assert [band.formula for band in two] == ["(green - swir) / (green + swir)", "nir / red"]
    with pytest.raises(InputError, match="names 'swir'; the bands are red, green"):
        parse_derived_bands("mndwi", ("red", "green"))


def resnet(weights: str, encoder: str = "resnet18") -> TrainOptions:
    return quick(architecture="unet", encoder=encoder, weights=weights, arguments="{}")


def on_disk(tmp_path: Path, names: bool, bands: int = 3) -> tuple[Path, dict[str, torch.Tensor]]:
    """Weights of an encoder as programs keep them, with layers of a classifier behind."""
    encoder = create_network(resnet("none"), card())
    state = encoder.get_submodule("encoder").state_dict()
    named = {name if names else f"layer{i}": tensor for i, (name, tensor) in enumerate(state.items())}
    path = tmp_path / "encoder.pth"
    torch.save(named | {"fc.weight": torch.zeros(1000, 512)}, path)
    return path, state


@pytest.mark.parametrize("names", [True, False])
def test_an_encoder_starts_from_a_file_whatever_its_layers_are_called(tmp_path: Path, names: bool) -> None:
    path, state = on_disk(tmp_path, names)
    settings = resnet(str(path))
    started = create_network(settings, card()).get_submodule("encoder").state_dict()
    assert all(torch.equal(started[name], tensor) for name, tensor in state.items())


def test_bands_that_photographs_lack_start_from_the_mean_of_theirs(tmp_path: Path) -> None:
    path, state = on_disk(tmp_path, names=False)
    settings = resnet(str(path))
    given = water(3, ("nir", "red"))
    first = create_network(settings, given).get_submodule("encoder").state_dict()["conv1.weight"]
    old = state["conv1.weight"]
    assert torch.equal(first, torch.stack([old.mean(1), old[:, 0]], 1))


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path, _ = on_disk(tmp_path, names=True)
    settings = resnet(str(path), "resnet34")
    with pytest.raises(InputError, match=r"encoder.pth: does not fit the encoder resnet34"):
        create_network(settings, card())


def test_weights_that_are_not_there_are_refused(tmp_path: Path) -> None:
    settings = resnet(str(tmp_path / "none.pth"))
    with pytest.raises(InputError, match=r"none.pth: no such file"):
        refuse_unknown_network(settings)


def test_bands_as_sentinel_2_calls_them_start_from_the_colours_they_show(tmp_path: Path) -> None:
    path, state = on_disk(tmp_path, names=False)
    first = create_network(resnet(str(path)), water(3, ("B8", "B4", "B03")))
    old = state["conv1.weight"]
    wanted = torch.stack([old.mean(1), old[:, 0], old[:, 1]], 1)
    assert torch.equal(first.get_submodule("encoder").state_dict()["conv1.weight"], wanted)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"architecture": "unett"}, "`architecture` unett: unknown; known are unet-plain, deeplabv3"),
        ({"start_from": "nowhere/at-all.onnx"}, "nowhere"),
    ],
)
def test_networks_that_are_nowhere_are_refused_before_any_label_is_read(
    changes: dict[str, str], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        refuse_unknown_network(quick(**changes))
