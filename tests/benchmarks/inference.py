"""Time of `geoseg infer`, file to COG, over the time of the bare network on the same patches, and over a plain loop.

    python tests/benchmarks/inference.py [--size 4096] [--device auto]

The network is a U-Net with a resnet18 encoder and random weights whose answers are moved away from the threshold,
as a trained network's mostly are; the scene is a drawn one, repeated. All three run in this one process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import segmentation_models_pytorch as smp
import torch
from machine import machine, table
from speed import prepare_network, take_time

from geoseg.inference.job import Job, plan_job
from geoseg.models.card import Card, Scaling
from geoseg.models.store import save_model
from geoseg.raster.grid import Window
from geoseg.raster.palette import ClassEntry
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_photo
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions


def write_scene(path: Path, size: int) -> None:
    tile = render_photo(Layout(22), Window(0, 0, 1024, 1024))
    repeated = np.tile(tile, (1, -(-size // 1024), -(-size // 1024)))[:, :size, :size]
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=3, height=size, width=size, crs="EPSG:32633",
        transform=rasterio.Affine(0.3, 0, 392_000, 0, -0.3, 5_820_000), tiled=True, compress="jpeg",
        blockxsize=512, blockysize=512, photometric="ycbcr", jpeg_quality=90,
    ) as dataset:  # fmt: skip
        dataset.write(repeated)


def write_model(folder: Path) -> smp.Unet:
    torch.manual_seed(0)
    network = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(128, 64, 48, 32, 16), classes=1)
    with torch.no_grad():
        network.segmentation_head[0].bias.fill_(2)
    card = Card(
        name="resnet18-random",
        bands=("red", "green", "blue"),
        classes=(ClassEntry("background", "#000000"), ClassEntry("building", "#e4572e")),
        gsd_m=0.3,
        gsd_range_m=(0.15, 0.6),
        scaling=Scaling(mean=(0.4,) * 3, std=(0.2,) * 3),
    )
    save_model(folder, network, card, render_photo(Layout(22), Window(0, 0, 256, 256))[None])
    return network.eval()


def plain_loop_seconds(job: Job, scene: Path, network: torch.nn.Module) -> float:
    """What a first script does: eager, full precision, patch by patch over the same grid."""
    device = job.kinds[0].device
    network = network.to(device)
    plan = job.plan
    start = time.perf_counter()
    with rasterio.open(scene) as dataset:
        image = dataset.read().astype("float32") / 255
    answer = np.zeros(image.shape[1:], "float32")
    with torch.inference_mode():
        for top in range(0, plan.patch_rows * plan.stride, plan.stride):
            for left in range(0, plan.patch_cols * plan.stride, plan.stride):
                patch = np.zeros((3, plan.patch, plan.patch), "float32")
                piece = image[:, top : top + plan.patch, left : left + plan.patch]
                patch[:, : piece.shape[1], : piece.shape[2]] = (piece - 0.4) / 0.2
                probability = network(torch.from_numpy(patch)[None].to(device)).sigmoid()[0, 0].cpu().numpy()
                answer[top : top + plan.patch, left : left + plan.patch] = probability[
                    : piece.shape[1], : piece.shape[2]
                ]
    with rasterio.open(
        scene.with_name("plain.tif"), "w", driver="GTiff", dtype="uint8", count=1, height=plan.height, width=plan.width,
        tiled=True, compress="deflate", crs="EPSG:32633", transform=rasterio.Affine(0.3, 0, 0, 0, -0.3, 0),
    ) as out:  # fmt: skip
        out.write((answer > 0.5).astype("uint8"), 1)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--probability", action="store_true", help="write the probabilities as well as the mask"
    )
    parser.add_argument("--repeat", type=int, default=3)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene, model = Path(folder, "scene.tif"), Path(folder, "model")
        write_scene(scene, wanted.size)
        network = write_model(model)
        options = InferOptions(
            model=str(model),
            device=wanted.device,
            precision=wanted.precision,
            mask=Path(folder, "mask.tif"),
            probability=Path(folder, "probability.tif") if wanted.probability else None,
            overwrite=True,
        )
        job = plan_job([str(scene)], options)
        infer_scene([str(scene)], None, options)  # the first run makes the engine ready
        run_network = prepare_network(job, scene)
        pairs = [
            (take_time(run_network).seconds, infer_scene([str(scene)], None, options).seconds)
            for _ in range(wanted.repeat)
        ]
        plain = plain_loop_seconds(job, scene, network)
    bare, whole = (sorted(times)[len(times) // 2] for times in zip(*pairs, strict=True))
    ratio = sorted(whole / bare for bare, whole in pairs)[len(pairs) // 2]
    megapixels = wanted.size**2 / 1e6
    print(
        f"{machine()}; {job.kinds[0]}; {wanted.size} x {wanted.size}, {job.plan.patches} patches of {job.plan.patch}"
    )
    rows = [
        ("bare network", f"{bare:.2f}", f"{megapixels / bare:.1f}", "1.00"),
        ("geoseg infer, file to COG", f"{whole:.2f}", f"{megapixels / whole:.1f}", f"{ratio:.2f}"),
        ("plain eager fp32 loop", f"{plain:.2f}", f"{megapixels / plain:.1f}", f"{plain / bare:.2f}"),
    ]
    print(table(("", "seconds", "Mpx/s", "over bare"), rows))


if __name__ == "__main__":
    main()
