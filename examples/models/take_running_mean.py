"""Makes a model of the running mean in a checkpoint, where a training was stopped before its end.

    python take_running_mean.py RUN START --out FOLDER

RUN is the folder of the training, with its `last.pt`; START the model it began with, whose card is kept but for the outputs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from geoseg.models.network import build_network
from geoseg.models.store import find_model, save_model

SEPARATORS = ("boundary", "distance")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("start")
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args()
    start = find_model(wanted.start)
    checkpoint = torch.load(wanted.run / "last.pt", map_location="cpu", weights_only=True)
    network = build_network(start, classes=1 + len(SEPARATORS))
    network.load_state_dict(checkpoint["average"])
    save_model(
        wanted.out, network, replace(start.card, separators=SEPARATORS, weights_sha256="", threshold=0.5)
    )
    print(f"{wanted.out}: the mean at step {checkpoint['step']}")


if __name__ == "__main__":
    main()
