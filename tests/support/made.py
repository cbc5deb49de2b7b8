"""Made-up scenes and cards that many tests use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.models.card import Card, Scaling
from geoseg.raster.palette import ClassEntry

UTM33 = "EPSG:32633"
HERE = Affine.translation(392_000, 5_820_000) @ Affine.scale(0.3, -0.3)

RasterWriter = Callable[..., Path]


def photo(height: int, width: int, bands: int = 3, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    """Random pixels from 1 up, so that 0 can serve as nodata."""
    return np.random.default_rng(seed).integers(1, 256, (bands, height, width)).astype(dtype)


def card(**changes: Any) -> Card:
    return Card(
        **{
            "name": "tiny",
            "bands": ("red", "green", "blue"),
            "classes": (ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e")),
            "gsd_m": 0.3,
            "gsd_range_m": (0.15, 0.6),
            "patch": 64,
            "scaling": Scaling(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2)),
            **changes,
        }
    )


def write_tiny_model(folder: Path) -> Path:
    """A real U-Net with random weights, in a model folder."""
    import segmentation_models_pytorch as smp
    import torch

    from geoseg.models.export import write_model_onnx
    from geoseg.models.store import ONNX_FILE, save_model

    torch.manual_seed(0)
    network = smp.Unet(
        "tu-resnet18", encoder_depth=3, encoder_weights=None, decoder_channels=(16, 8, 8), classes=1
    )
    write_model_onnx(save_model(folder, network, card(), photo(64, 64)[None]), folder / ONNX_FILE)
    return folder
