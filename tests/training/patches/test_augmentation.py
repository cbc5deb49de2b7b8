from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from torch import Tensor

from geoseg.training.patches import augmentation as augment
from geoseg.training.patches.augmentation import (
    RECIPES,
    AugmentationParams,
    AugmentationRecipe,
    augment_images,
    draw_params,
)

NUMBERS = range(6)
GENERATOR = torch.Generator().manual_seed(2)
IMAGES = torch.rand(6, 3, 48, 48, generator=GENERATOR) * 0.8 + 0.1


def drawn(numbers: Any = NUMBERS, **recipe: Any) -> AugmentationParams:
    return draw_params(AugmentationRecipe(**recipe), 0, numbers, 3)


def test_nothing_asked_leaves_patches_as_they_are() -> None:
    assert torch.allclose(augment_images(IMAGES, drawn()), IMAGES, atol=1e-6)


@pytest.mark.parametrize("preset", ["none", "flips", "light", "strong", "sensors"])
def test_a_patch_is_varied_alike_in_whatever_batch_it_comes(preset: Any) -> None:
    recipe = RECIPES[preset]
    together = augment_images(IMAGES, draw_params(recipe, 7, range(6), 3))
    for number in range(6):
        alone = augment_images(IMAGES[number : number + 1], draw_params(recipe, 7, [number], 3))
        assert torch.allclose(alone[0], together[number], atol=1e-4)
    assert torch.isfinite(together).all()


def test_another_seed_varies_otherwise() -> None:
    one, two = (draw_params(RECIPES["strong"], seed, range(6), 3) for seed in (1, 2))
    assert not torch.equal(one.brightness, two.brightness)


def test_presets_go_from_nothing_to_much() -> None:
    changes = [
        float((augment_images(IMAGES, draw_params(RECIPES[p], 0, NUMBERS, 3)) - IMAGES).abs().mean())
        for p in ("none", "light", "strong")
    ]
    assert changes[0] < 1e-6
    assert 1e-2 < changes[1] < changes[2]


def test_a_coarser_sensor_shows_no_detail_of_its_own_pixels_and_the_same_amount_of_light() -> None:
    stripes = torch.zeros(2, 3, 64, 64)
    stripes[..., ::2] = 1
    factors = torch.tensor([2.5, 0.0]).view(2, 1, 1, 1)
    coarse = augment.coarsen_images(stripes, factors)
    assert torch.equal(coarse[1], stripes[1])
    assert float(coarse[0].std()) < 0.1 * float(stripes.std())
    assert float(coarse[0].mean()) == pytest.approx(0.5, abs=0.01)
    half = torch.zeros(1, 1, 64, 64)
    half[..., 32:] = 1
    step = augment.coarsen_images(half, torch.full((1, 1, 1, 1), 3.0))[0, 0, 32]
    assert (step[:26] < 0.1).all()
    assert (step[38:] > 0.9).all()


def test_blur_is_the_gaussian_of_scipy() -> None:
    sigma = torch.tensor([0.8, 0.0, 1.4, 2.0, 0.0, 1.0]).view(6, 1, 1, 1)
    blurred = augment.blur_images(IMAGES, sigma)
    for image, smooth, width in zip(IMAGES, blurred, sigma.flatten().tolist(), strict=True):
        expected = gaussian_filter(image.numpy(), (0, width, width), mode="mirror", radius=6)
        assert np.abs(smooth.numpy() - expected).max() < 2e-3


def test_jpeg_artefacts_round_the_cosines_of_scipy() -> None:
    block = 0.4 + 0.2 * IMAGES[:1, :1, :8, :8]
    step = 20.0
    squeezed = augment.compress_images(block, torch.full((1, 1, 1, 1), step))
    order = np.arange(8)
    steps = step / 255 * (1 + order[:, None] + order[None, :]) / 2
    amounts = dctn(squeezed[0, 0].numpy(), norm="ortho") / steps
    inside = (squeezed > 0).all() and (squeezed < 1).all()
    assert inside
    assert np.abs(amounts - amounts.round()).max() < 1e-2
    expected = dctn(block[0, 0].numpy(), norm="ortho") / steps
    assert np.array_equal(amounts.round(), expected.round())


@pytest.mark.parametrize("side", [41, 47, 48, 5])
def test_jpeg_artefacts_reach_patches_of_any_side(side: int) -> None:
    images, strength = IMAGES[..., :side, :side], torch.full((6, 1, 1, 1), 25.0)
    strength[2] = 0
    squeezed = augment.compress_images(images, strength)
    assert squeezed.shape == images.shape
    assert torch.equal(squeezed[2], images[2])
    # Whole blocks are what they are without their neighbours; of the others the last row and column go on.
    rest = -side % 8
    filled = np.pad(images[0].numpy(), ((0, 0), (0, rest), (0, rest)), "edge")
    whole = augment.compress_images(torch.from_numpy(filled)[None], strength[:1])
    assert torch.allclose(squeezed[:1], whole[..., :side, :side], atol=1e-6)
    assert (squeezed[0, :, -1, -1] - images[0, :, -1, -1]).abs().max() > 1e-4


def test_light_and_air_do_as_they_say() -> None:
    base = drawn()
    brighter = augment_images(IMAGES, replace(base, brightness=torch.full((6, 1, 1, 1), 0.1)))
    assert torch.allclose(brighter, IMAGES + 0.1, atol=1e-6)
    flat = augment_images(IMAGES, replace(base, contrast=torch.full((6, 1, 1, 1), 0.5)))
    assert torch.allclose(flat.std((1, 2, 3)), IMAGES.std((1, 2, 3)) / 2, rtol=1e-3)
    grey = augment_images(IMAGES, replace(base, saturation=torch.zeros(6, 1, 1, 1)))
    assert float(grey.std(1).max()) < 1e-6
    darker = augment_images(IMAGES, replace(base, gamma=torch.full((6, 1, 1, 1), 2.0)))
    assert torch.allclose(darker, IMAGES**2, atol=1e-6)
    hazy = augment_images(IMAGES, replace(base, haze=torch.full((6, 1, 1, 1), 0.4)))
    assert (hazy.std((1, 2, 3)) < IMAGES.std((1, 2, 3))).all()
    shaded = augment_images(IMAGES, replace(base, shadow=torch.full((6, 1, 1, 1), 0.5)))
    assert (shaded <= IMAGES + 1e-6).all()
    assert float((shaded < IMAGES * 0.6).float().mean()) > 0.1


def test_noise_is_as_strong_as_drawn_and_always_the_same() -> None:
    strength = replace(drawn(), noise=torch.full((6, 1, 1, 1), 0.03))
    noise = augment_images(IMAGES, strength) - IMAGES
    assert float(noise.std()) == pytest.approx(0.03, rel=0.05)
    assert torch.equal(augment_images(IMAGES, strength) - IMAGES, noise)


def test_a_stretched_patch_lies_between_its_percentiles() -> None:
    percent = torch.tensor([2.0, 0.0, 1.0, 0.0, 0.0, 4.0]).view(6, 1, 1, 1)
    stretched = augment.stretch_images(IMAGES, percent)
    for image, wide, share in zip(IMAGES.numpy(), stretched.numpy(), percent.flatten().tolist(), strict=True):
        low, high = np.percentile(image, (share, 100 - share), axis=(1, 2), keepdims=True)
        expected = np.clip((image - low) / (high - low), 0, 1) if share else image
        assert np.abs(wide - expected).max() < 1e-4
    flat = augment.stretch_images(torch.full((6, 3, 32, 32), 0.4), percent)
    assert torch.isfinite(flat).all()


def test_a_dropped_band_says_nothing() -> None:
    images = augment_images(IMAGES, replace(drawn(), dropped=np.array([-1, 2, -1, 0, -1, -1])))
    assert float(images[1, 2].std()) < 1e-6
    assert float(images[3, 0].std()) < 1e-6
    assert torch.allclose(images[0], IMAGES[0], atol=1e-6)
    assert torch.allclose(images[1, :2], IMAGES[1, :2], atol=1e-6)


def test_chances_come_true() -> None:
    recipe = replace(RECIPES["strong"], dropout_chance=0.3)
    many = draw_params(recipe, 0, range(1500), 4)
    for entry in fields(AugmentationRecipe):
        kind, _, chance = entry.name.partition("_")
        if chance == "chance" and kind != "dropout":
            amounts: Tensor = getattr(many, kind)
            assert float((amounts > 0).float().mean()) == pytest.approx(getattr(recipe, entry.name), abs=0.04)
    assert (many.dropped >= 0).mean() == pytest.approx(0.3, abs=0.04)
    assert set(many.dropped.tolist()) == {-1, 0, 1, 2, 3}
