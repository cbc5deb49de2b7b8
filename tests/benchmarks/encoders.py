"""Megapixels a second of encoders in a U-Net, by the engine and precision that `geoseg infer` would use on this machine.

    python tests/benchmarks/encoders.py [--patch 512] [--turns 9]

The networks have random weights; speed does not depend on them. Each is timed over whole patches, in turns, so that a busy
machine is as busy for all of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import segmentation_models_pytorch as smp
from machine import machine, table
from numpy.typing import NDArray

from geoseg.models.backends.base import Precision, RawPatches, Runtime, RuntimeKind
from geoseg.models.card import Card, Scaling
from geoseg.models.normalisation import make_fixed_normalisation
from geoseg.models.runtime import load_backend, open_runtime
from geoseg.models.store import find_model, save_model
from geoseg.raster.palette import ClassEntry

DECODER = (128, 64, 48, 32, 16)
ENCODERS = (
    "resnet18",
    "resnet34",
    "tu-resnet10t",
    "tu-efficientnet_lite0",
    "efficientnet-b0",
    "tu-mobilenetv3_small_100",
    "tu-mobilenetv3_large_100",
    "mit_b0",
)


@contextmanager
def networks(patch: int, precision: Precision) -> Iterator[list[tuple[str, float, Runtime]]]:
    """Name, millions of weights and runtime of each encoder's U-Net."""
    with tempfile.TemporaryDirectory() as folder:
        yield [opened(name, Path(folder, name), patch, precision) for name in ENCODERS]


def opened(name: str, folder: Path, patch: int, precision: Precision) -> tuple[str, float, Runtime]:
    network = smp.Unet(name, encoder_weights=None, decoder_channels=DECODER, classes=1)
    classes = (ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e"))
    card = Card(name, ("red", "green", "blue"), classes, 0.3, (0.15, 0.6), scaling=Scaling())
    save_model(folder, network, card)
    patches = RawPatches(patch, "uint8", make_fixed_normalisation(card))
    runtime = open_runtime(find_model(str(folder)), patches, RuntimeKind("cpu", "openvino", precision))
    return name, sum(p.numel() for p in network.parameters()) / 1e6, runtime


def seconds_a_patch(runtime: Runtime, raw: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    runtime(raw)
    return (time.perf_counter() - start) / len(raw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", type=int, default=512)
    parser.add_argument("--turns", type=int, default=9)
    wanted = parser.parse_args()
    raw = np.random.default_rng(0).integers(0, 256, (4, 3, wanted.patch, wanted.patch), dtype=np.uint8)
    found: dict[str, list[float]] = {name: [] for name in ENCODERS}
    precision = load_backend("openvino").list_precisions("cpu")[0]
    with networks(wanted.patch, precision) as opened_networks:
        for _ in range(wanted.turns):
            for name, _, runtime in opened_networks:
                found[name].append(seconds_a_patch(runtime, raw))
        rows = [
            (
                name,
                f"{weights:.1f}",
                f"{wanted.patch**2 / 1e6 / median(found[name]):.1f}",
                f"{median(a / b for a, b in zip(found[ENCODERS[0]], found[name], strict=True)):.2f}",
            )
            for name, weights, _ in opened_networks
        ]
    print(f"{machine()}; openvino {precision}, patches of {wanted.patch}, decoder {DECODER}")
    print(table(("encoder", "million weights", "Mpx/s", f"times {ENCODERS[0]}"), rows))


if __name__ == "__main__":
    main()
