from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from squares import array_set, quick
from torch import nn

from geoseg.learn.patches.augment import RECIPES
from geoseg.learn.patches.batches import batches
from geoseg.learn.training.processes import Team
from geoseg.learn.training.run import open_run
from geoseg.model.network import Normalised
from geoseg.model.normalisation import scene_normalisation


@pytest.mark.parametrize(
    ("dtype", "factor", "changes"),
    [
        ("uint8", 1, {}),
        ("uint16", 12, {}),
        ("uint16", 12, {"high": 10000.0, "stretch": "never"}),
        ("float32", 0.003, {"stretch": "always"}),
    ],
)
def test_training_sees_raw_values_as_inference_does(
    dtype: str, factor: float, changes: dict[str, Any], tmp_path: Path
) -> None:
    array_set(tmp_path)
    for place in "abc":
        np.save(
            tmp_path / f"{place}.npy",
            (np.load(tmp_path / f"{place}.npy").astype(float) * factor).astype(dtype),
        )
    run = open_run(tmp_path, tmp_path / "out", quick(**changes), torch.device("cpu"), Team())
    patches = run.patches()
    batch = next(batches(run.shelf(patches, False), [range(3)], 0, run.device))
    inputs = run.kitchen(RECIPES["none"])(batch).inputs
    for number in range(3):
        site, patch = patches[number]
        values, valid = patches.sites[site].image.look()
        rule = scene_normalisation(run.card, values, valid, "scene")
        seen = Normalised(nn.Identity(), rule)(torch.from_numpy(patch.values.astype(np.float32))[None])[0]
        assert torch.allclose(inputs[number], seen, atol=2e-3)


def test_unknown_pixels_look_like_the_mean(tmp_path: Path) -> None:
    array_set(tmp_path)
    image = np.load(tmp_path / "a.npy").astype(np.float32)
    image[:, :64] = np.nan
    np.save(tmp_path / "a.npy", image)
    run = open_run(tmp_path, tmp_path / "out", quick(empty=1.0), torch.device("cpu"), Team())
    batch = next(batches(run.shelf(run.patches(), False), [range(40)], 0, run.device))
    ready = run.kitchen(RECIPES["strong"])(batch)
    assert torch.isfinite(ready.inputs).all()
    unknown = ready.labels == 255
    assert unknown.any()
    assert not ready.inputs.movedim(1, -1)[unknown].any()
