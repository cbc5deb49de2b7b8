"""What a stranger's config.json may ask of the libraries that build networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geoseg.errors import InputError
from geoseg.models.architecture import read_architecture, takes_any_size
from geoseg.models.store import BUILTIN, CONFIG_FILE

GOOD = {
    "_model_class": "Unet", "encoder_name": "tu-mobilenetv3_small_100.lamb_in1k", "encoder_depth": 5, "in_channels": 3,
    "classes": 1, "decoder_channels": [256, 128, 64, 32, 16], "decoder_use_norm": {"type": "batchnorm", "eps": 1e-5},
    "decoder_attention_type": None, "decoder_dropout": 0.2, "decoder_aspp_separable": True, "aux_params": None,
}  # fmt: skip


def read(folder: Path, config: Any) -> dict[str, Any]:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return read_architecture(path)


def test_what_shapes_a_network_passes(tmp_path: Path) -> None:
    assert read(tmp_path, {**GOOD, "activation": "sigmoid", "encoder_weights": "imagenet"}) == GOOD


@pytest.mark.parametrize("model", sorted(path.parent for path in BUILTIN.glob(f"*/{CONFIG_FILE}")))
def test_the_built_in_models_pass(model: Path) -> None:
    assert read_architecture(model / CONFIG_FILE)["_model_class"] == "Unet"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("checkpoint_path", "/tmp/evil.pth"),
        ("pretrained", True),
        ("pretrained_cfg", {"file": "/etc/passwd"}),
        ("pretrained_cfg_overlay", {"file": "/etc/passwd"}),
        ("cache_dir", "/tmp"),
        ("encoder_name", "tu-local-dir:/home/someone"),
        ("encoder_name", "tu-hf-hub:stranger/model"),
        ("encoder_name", "../../evil"),
        ("encoder_name", 3),
        ("encoder_depth", "5"),
        ("encoder_depth", 10**9),
        ("encoder_depth", True),
        ("encoder_depth", 2.5),
        ("in_channels", 10**9),
        ("classes", 0),
        ("decoder_channels", [10**9]),
        ("decoder_channels", "256"),
        ("decoder_channels", [1] * 10_000),
        ("decoder_dropout", 7),
        ("decoder_use_norm", {"type": "file:/etc/passwd"}),
        ("aux_params", {"classes": {"deep": 1}}),
        ("decoder_aspp_separable", "yes"),
    ],
)
def test_all_else_is_refused_in_one_line(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"config\.json: {name} .*no argument that a network may have"):
        read(tmp_path, {**GOOD, name: value})


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, "\x00", '{"encoder_depth": ' + "9" * 5000 + "}"]
)
def test_what_is_no_json_object_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("encoder", "any_size"),
    [
        (None, True), ("resnet18", True), ("tu-efficientnet_lite0", True), ("timm-regnetx_002", True), ("tu-convnext_tiny", True),
        ("tu-vit_tiny_patch16_224", False), ("tu-swin_tiny_patch4_window7_224", False), ("tu-mobilevit_s", False),
        ("mit_b0", False),
    ],
)  # fmt: skip
def test_transformers_keep_the_size_of_their_patches(encoder: str | None, any_size: bool) -> None:
    assert takes_any_size({"encoder_name": encoder}) == any_size
