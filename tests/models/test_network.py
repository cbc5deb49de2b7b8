from __future__ import annotations

import json
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from geoseg.errors import InputError
from geoseg.models.backends.torch import ProbabilityNetwork
from geoseg.models.network import load_network, read_weights
from geoseg.models.store import CARD_FILE, CONFIG_FILE, ONNX_FILE, WEIGHTS_FILE, Model, find_model

State = dict[str, Tensor]
Saver = Callable[..., Model]

# (architecture, encoder, bands, outputs, further arguments)

ARCHITECTURES = [
    ("Unet", "resnet18", 1, 1, {"encoder_depth": 3, "decoder_channels": (8, 8, 8)}),
    ("DeepLabV3Plus", "resnet18", 11, 1, {"decoder_channels": 16}),
    ("FPN", "mobilenet_v2", 3, 2, {"decoder_pyramid_channels": 16, "decoder_segmentation_channels": 32}),
    ("Segformer", "mit_b0", 3, 3, {"decoder_segmentation_channels": 16}),
    ("PSPNet", "resnet18", 4, 1, {"psp_out_channels": 16}),
    ("UPerNet", "tu-mobilenetv3_small_100", 3, 4, {"decoder_channels": 16}),
]


def same_answers(one: torch.nn.Module, other: torch.nn.Module, bands: int = 3) -> bool:
    inputs = torch.randn(1, bands, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        return bool(torch.equal(one(inputs), other(inputs)))


@pytest.mark.parametrize(("architecture", "encoder", "bands", "outputs", "arguments"), ARCHITECTURES)
def test_segmentation_models_pytorch_opens_the_same_folder(
    architecture: str, encoder: str, bands: int, outputs: int, arguments: dict[str, Any], saved: Saver
) -> None:
    import segmentation_models_pytorch as smp

    network = getattr(smp, architecture)(
        encoder, encoder_weights=None, in_channels=bands, classes=outputs, **arguments
    )
    model = saved(network, bands, outputs)
    loaded = load_network(model)
    assert same_answers(loaded, network.eval(), bands)
    assert same_answers(loaded, smp.from_pretrained(str(model.weights.parent)).eval(), bands)


def test_answers_are_probabilities(saved: Saver, small_unet: Callable[..., Any]) -> None:
    inputs = torch.randn(1, 3, 64, 64)
    for outputs in (1, 3):
        model = saved(small_unet(classes=outputs), outputs=outputs)
        network = load_network(model)
        with torch.inference_mode():
            logits, answer = network(inputs), ProbabilityNetwork(network, model.card)(inputs)
        exp = logits.double().exp()
        expected = exp / (1 + exp) if outputs == 1 else exp / exp.sum(1, keepdim=True)
        assert torch.allclose(answer.double(), expected, atol=1e-6)


def test_an_activation_in_the_architecture_is_not_applied_twice(
    saved: Saver, small_unet: Callable[..., Any]
) -> None:
    assert same_answers(load_network(saved(small_unet(activation="sigmoid"))), small_unet().eval())


def test_a_network_that_also_names_the_whole_patch_is_used_for_its_mask(
    saved: Saver, small_unet: Callable[..., Any]
) -> None:
    network = small_unet(aux_params={"classes": 2})
    model = saved(network)
    inputs = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        answer = ProbabilityNetwork(load_network(model), model.card)(inputs)
        assert torch.equal(answer, network.eval()(inputs)[0].sigmoid())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_run_in_full(
    tiny_model: Path, copied: Path, dtype: torch.dtype
) -> None:
    from safetensors.torch import save_file

    state = read_weights(tiny_model / WEIGHTS_FILE)
    halves = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    save_file(halves, copied / WEIGHTS_FILE)
    without_sha256(copied)
    network = load_network(find_model(str(copied)))
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    name = "segmentation_head.0.weight"
    assert torch.equal(network.state_dict()[name], state[name].to(dtype).float())


def without_sha256(folder: Path) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps({**card, "weights_sha256": ""}))


@pytest.fixture
def checkpoint(copied: Path) -> Callable[[object], Model]:
    """The tiny model with its weights exchanged for a .pth of the old kind."""

    def write(content: object, **options: Any) -> Model:
        for name in (WEIGHTS_FILE, ONNX_FILE):
            (copied / name).unlink(missing_ok=True)
        without_sha256(copied)
        torch.save(content, copied / "weights.pth", **options)
        return find_model(str(copied))

    return write


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(lambda state: state, id="plain"),
        pytest.param(lambda state: {"state_dict": state, "epoch": 3, "best": [0.5]}, id="state_dict"),
        pytest.param(
            lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}}, id="model_state_dict"
        ),
        pytest.param(lambda state: {"model": prefixed("module.", state)}, id="nested DataParallel"),
        pytest.param(lambda state: prefixed("module.", state), id="DataParallel"),
        pytest.param(lambda state: prefixed("_orig_mod.", state), id="compiled"),
        pytest.param(
            lambda state: {"state_dict": {"mean": torch.zeros(3), **prefixed("model.", state)}},
            id="Lightning",
        ),
    ],
)
def test_old_checkpoints_are_read(
    wrapped: Callable[[State], object], tiny_model: Path, checkpoint: Callable[..., Model]
) -> None:
    state = read_weights(tiny_model / WEIGHTS_FILE)
    assert same_answers(load_network(checkpoint(wrapped(state))), load_network(find_model(str(tiny_model))))


def test_very_old_checkpoints_are_read(tiny_model: Path, checkpoint: Callable[..., Model]) -> None:
    state = read_weights(tiny_model / WEIGHTS_FILE)
    model = checkpoint(state, _use_new_zipfile_serialization=False)
    assert same_answers(load_network(model), load_network(find_model(str(tiny_model))))


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("way", ["zip", "legacy", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_does_not(way: str, tmp_path: Path) -> None:
    trace, path = tmp_path / "it-ran", tmp_path / "weights.pth"
    content = {"state_dict": {"encoder.weight": torch.zeros(1)}, "extra": Malicious(trace)}
    if way == "pickle":
        path.write_bytes(pickle.dumps(content["extra"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "zip")
    with pytest.raises(InputError, match=r"weights.pth: refused: .* could run code .* ask its author"):
        read_weights(path)
    assert not trace.exists()


def test_the_file_of_the_last_test_would_have_run_code(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(Malicious(trace)))
    assert trace.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "weights.pth")
    with pytest.raises(InputError, match="ask its author for the state dict alone"):
        read_weights(tmp_path / "weights.pth")


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)  # type: ignore[no-untyped-call]
    with pytest.raises(InputError, match=r"weights.pth: damaged or not a weights file .*TorchScript"):
        read_weights(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights.pth", b""),
        ("weights.pth", b"hello, these are my weights\n"),
        ("weights.pth", b"<!DOCTYPE html><html>404</html>"),
        ("weights.safetensors", b""),
        ("weights.safetensors", b"hello, these are my weights\n"),
        ("weights.safetensors", b"\xff" * 64),
    ],
)
def test_what_holds_no_weights_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: (damaged or not a weights file|refused)") as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_truncated_weights_are_refused(tiny_model: Path, tmp_path: Path, share: float) -> None:
    whole = (tiny_model / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"model.safetensors: damaged or not a weights file"):
        read_weights(tmp_path / WEIGHTS_FILE)
    torch.save(read_weights(tiny_model / WEIGHTS_FILE), tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "weights.pth").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"weights.pth: damaged or not a weights file"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"state_dict": {"head.weight": torch.zeros(1)}}])
def test_a_checkpoint_without_a_networks_weights_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"weights.pth: .*not a weights file \(it holds no state dict"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "change", [{"encoder_name": "resnet34"}, {"_model_class": "Linknet"}, {"encoder_depth": 4}]
)
def test_weights_of_another_network_are_refused(copied: Path, change: dict[str, Any]) -> None:
    config = {**json.loads((copied / CONFIG_FILE).read_text()), **change}
    if change != {"encoder_name": "resnet34"}:
        config = {name: value for name, value in config.items() if name != "decoder_channels"}
    if "encoder_depth" in change:
        config["decoder_channels"] = [16, 8, 8, 8]
    if "_model_class" in change:
        config = {"encoder_name": "resnet18", "encoder_depth": 3, **change}
    (copied / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"model.safetensors: does not fit the architecture in config.json"):
        load_network(find_model(str(copied)))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"_model_class": "Resunet"}, "unknown architecture 'Resunet'; known are .*DeepLabV3Plus.*Unet"),
        ({"_model_class": "__doc__"}, "unknown architecture"),
        ({"_model_class": ["Unet"]}, "no argument that a network may have"),
        ({"encoder_name": "resnet19"}, "config.json does not describe a Unet"),
        ({"encoder_name": "tu-no_such_network"}, "config.json does not describe a Unet"),
        ({"encoder_depth": 4}, "config.json does not describe a Unet"),
        ({"encoder_depth": "deep"}, "no argument that a network may have"),
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(
    copied: Path, change: dict[str, Any], complaint: str
) -> None:
    (copied / CONFIG_FILE).write_text(
        json.dumps({**json.loads((copied / CONFIG_FILE).read_text()), **change})
    )
    with pytest.raises(InputError, match=complaint) as caught:
        load_network(find_model(str(copied)))
    assert "\n" not in str(caught.value)
