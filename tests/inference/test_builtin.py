"""The models that ship with geoseg do what their cards say on scenes whose truth is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from made import HERE, RasterWriter

from geoseg.models.store import find_model, list_builtin_models
from geoseg.raster.grid import Window
from geoseg.synthetic.landscape import Layout
from geoseg.synthetic.render import render_photo, render_truth_mask
from geoseg.workflows.infer import infer_scene
from geoseg.workflows.options import InferOptions

WHOLE = Window(0, 0, 768, 768)


def test_the_default_model_finds_houses_that_it_has_never_seen(
    write_raster: RasterWriter, tmp_path: Path
) -> None:
    layout = Layout(22)
    scene = write_raster("scene.tif", render_photo(layout, WHOLE), transform=HERE)
    infer_scene([str(scene)], None, InferOptions(device="cpu", mask=tmp_path / "mask.tif"))
    with rasterio.open(tmp_path / "mask.tif") as dataset:
        found = dataset.read(1) == 1
    true = render_truth_mask(layout, WHOLE)
    assert (found & true).sum() / (found | true).sum() > 0.5


@pytest.mark.parametrize("name", list_builtin_models())
def test_a_card_says_where_a_model_comes_from_and_what_it_fails_at(name: str) -> None:
    model = find_model(name)
    assert model.card.name == name
    assert model.card.licence
    assert all(source["licence"] for source in model.card.sources)
    assert model.card.known_failures
    assert model.card.metrics["places"]
    assert model.weights.stat().st_size < 15e6
    patches = model.check_patches
    assert patches is None or np.isfinite(patches).all()
