from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import card
from runtimes import answer

from geoseg.errors import InputError
from geoseg.models.backends.torch import ProbabilityNetwork
from geoseg.models.card import Card, DerivedBand, Scaling
from geoseg.models.formulas import Formula
from geoseg.models.network import load_network
from geoseg.models.store import find_model, save_model
from geoseg.models.unet import PlainUnet
from geoseg.raster.palette import ClassEntry

BANDS = ("red", "nir")
NDVI = "(nir - red) / (nir + red)"


def test_a_formula_is_computed_as_arithmetic_is() -> None:
    red, nir = torch.tensor([0.1, 0.0, 0.4]), torch.tensor([0.5, 0.0, 0.2])
    ndvi = Formula.parse(NDVI, BANDS)({"red": red, "nir": nir})
    assert torch.allclose(ndvi, torch.tensor([0.4 / 0.6, 0.0, -0.2 / 0.6]))
    other = Formula.parse("-2 * sqrt(abs(red - nir)) + 1", BANDS)({"red": red, "nir": nir})
    assert torch.allclose(other, 1 - 2 * (red - nir).abs().sqrt())
    assert Formula.parse("3", BANDS)({"red": red}).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nir -", "cannot be read"),
        ("nir - green", "names 'green'; the bands are red, nir"),
        ("__import__('os')", "only"),
        ("red.real", "only"),
        ("red ** 9 ** 9", "only"),
        ("red if nir else 1", "only"),
        ("True", "only"),
        ("(" * 2000, "cannot be read"),
    ],
)
def test_anything_but_arithmetic_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="formula") as told:
        Formula.parse(text, BANDS)
    assert complaint in str(told.value)


def vegetation_card(**changes: Any) -> Card:
    scaling = Scaling(0, 10000, (0.1, 0.3), (0.05, 0.2), "never")
    derived = (DerivedBand("ndvi", NDVI), DerivedBand("ratio", "nir / red", 0, 4))
    return card(
        **{"bands": BANDS, "scaling": scaling, "derived": derived, "gsd_range_m": (0.1, 20), **changes}
    )


def test_inference_computes_the_derived_bands_of_a_card(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PlainUnet(in_channels=4, encoder_depth=2, width=8).eval()
    model = save_model(tmp_path / "model", network, vegetation_card())
    scaled = torch.rand(1, 2, 16, 16) * 0.5 + 0.01
    normalised = (scaled - torch.tensor([0.1, 0.3]).view(1, 2, 1, 1)) / torch.tensor([0.05, 0.2]).view(
        1, 2, 1, 1
    )
    red, nir = scaled[:, :1], scaled[:, 1:]
    ratio = (nir / red).clamp(0, 4) / 2 - 1
    expected = network(torch.cat([normalised, (nir - red) / (nir + red), ratio], 1)).sigmoid()
    answer = ProbabilityNetwork(load_network(find_model(str(model.weights.parent))), model.card)(normalised)
    assert torch.allclose(answer, expected, atol=1e-5)


def test_a_formula_of_unknown_bands_is_refused(tmp_path: Path) -> None:
    wrong = vegetation_card(derived=(DerivedBand("ndwi", "green - nir"),))
    model = save_model(tmp_path, PlainUnet(3, encoder_depth=1, width=8), wrong)
    with pytest.raises(InputError, match="green"):
        load_network(model)


def test_a_network_without_room_for_derived_bands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 bands"):
        save_model(tmp_path, PlainUnet(2, encoder_depth=1, width=8), vegetation_card())


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_derived_bands_run_on_a_cpu_as_in_torch(tmp_path: Path, engine: Any) -> None:
    torch.manual_seed(0)
    model = save_model(tmp_path, PlainUnet(4, encoder_depth=2, width=8), vegetation_card(patch=32))
    raw = np.random.default_rng(0).integers(0, 5000, (1, 2, 32, 32)).astype(np.uint16)
    np.testing.assert_allclose(answer(model, raw, engine), answer(model, raw, "torch"), atol=1e-4)


@pytest.mark.parametrize(("bands", "outputs", "depth"), [(3, 1, 3), (5, 4, 2)])
def test_the_plain_unet_survives_its_folder(tmp_path: Path, bands: int, outputs: int, depth: int) -> None:
    names = [ClassEntry(f"class {i}", "#e4572e") for i in range(max(2, outputs))]
    fitting = card(
        bands=tuple(f"band {i}" for i in range(bands)),
        classes=tuple(names),
        activation="sigmoid" if outputs == 1 else "softmax",
        scaling=Scaling(),
    )
    network = PlainUnet(bands, outputs, depth, 8).eval()
    model = save_model(tmp_path, network, fitting)
    inputs = torch.randn(2, bands, 32, 32)
    assert torch.equal(load_network(find_model(str(tmp_path)))(inputs), network(inputs))
    assert model.architecture["_model_class"] == "PlainUnet"
    assert network(inputs).shape == (2, outputs, 32, 32)


def test_answers_of_the_plain_unet_depend_on_no_other_patch() -> None:
    network = PlainUnet(3, 1, 2, 8).train()
    inputs = torch.randn(3, 3, 16, 16)
    assert torch.allclose(network(inputs)[1], network(inputs[1:2])[0], atol=1e-5)


def test_the_plain_unet_refuses_a_width_it_cannot_group() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        PlainUnet(width=12)
