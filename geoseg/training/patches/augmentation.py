"""Augmentation of how patches look, computed in batches on the device: light and air, optics, sensor and file.

What happens to a patch follows from its number and the seed alone, so that runs can be repeated, resumed and spread over
processes. How patches lie on the ground is varied where they are read (`pose`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from geoseg.training.options import Preset

STREAM = 2
"""Looks draw from a stream of their own: what else is drawn for a patch leaves them as they are."""
FIELD = 4
"""Knots along each side of the smooth fields that shadow and haze follow."""
BLOCK = 8
"""Side of the blocks that JPEG compresses."""
OPTICS = 0.35
"""How much a coarser sensor blurs, in its own pixels, before it samples (measured on pansharpened satellite images)."""
LEAST_SPAN = 0.15
"""Bands whose percentiles lie closer together are stretched no more than by this: noise would become all there is."""
SHADOW_STEEPNESS = 30
"""How sharp the edge of a shadow is."""
HAZE_BRIGHTNESS, THICKEST_HAZE = 0.8, 0.9
Range = tuple[float, float]


@dataclass(frozen=True)
class AugmentationRecipe:
    """How far patches may be varied. Each range is drawn from evenly, each `*_chance` says how often at all.

    `flips` mirrors patches in both directions, `turns` turns them by quarters as well.
    """

    flips: bool = False
    turns: bool = False
    angle: float = 0.0
    scale: Range = (1.0, 1.0)
    brightness: float = 0.0
    contrast: Range = (1.0, 1.0)
    band_gain: Range = (1.0, 1.0)
    saturation: Range = (1.0, 1.0)
    gamma: Range = (1.0, 1.0)
    blur_chance: float = 0.0
    blur: Range = (0.3, 1.5)
    coarser_chance: float = 0.0
    coarser: Range = (1.3, 3.2)
    sharpen_chance: float = 0.0
    sharpen: Range = (0.2, 1.0)
    noise_chance: float = 0.0
    noise: Range = (0.005, 0.04)
    jpeg_chance: float = 0.0
    jpeg: Range = (4.0, 30.0)
    haze_chance: float = 0.0
    haze: Range = (0.1, 0.5)
    shadow_chance: float = 0.0
    shadow: Range = (0.3, 0.7)
    stretch_chance: float = 0.0
    stretch: Range = (0.5, 4.0)
    dropout_chance: float = 0.0


RECIPES: dict[Preset, AugmentationRecipe] = {
    "none": AugmentationRecipe(),
    "flips": AugmentationRecipe(flips=True),
    "light": AugmentationRecipe(
        turns=True,
        brightness=0.08,
        contrast=(0.85, 1.18),
        band_gain=(0.95, 1.05),
        gamma=(0.85, 1.18),
    ),
    "strong": AugmentationRecipe(
        turns=True,
        angle=180.0,
        scale=(0.55, 1.8),
        brightness=0.15,
        contrast=(0.65, 1.5),
        band_gain=(0.82, 1.22),
        saturation=(0.15, 1.5),
        gamma=(0.6, 1.65),
        blur_chance=0.35,
        blur=(0.3, 2.2),
        sharpen_chance=0.15,
        noise_chance=0.3,
        jpeg_chance=0.25,
        haze_chance=0.2,
        shadow_chance=0.2,
        stretch_chance=0.15,
        dropout_chance=0.03,
    ),
}
RECIPES["sensors"] = replace(RECIPES["strong"], coarser_chance=0.3)


@dataclass(frozen=True)
class AugmentationParams:
    """What happens to each patch of a batch: one entry a patch, neutral where it is left as it is."""

    brightness: Tensor
    contrast: Tensor
    band_gain: Tensor
    saturation: Tensor
    gamma: Tensor
    blur: Tensor
    coarser: Tensor
    sharpen: Tensor
    noise: Tensor
    jpeg: Tensor
    haze: Tensor
    shadow: Tensor
    stretch: Tensor
    fields: Tensor
    dropped: NDArray[np.int64]
    seeds: tuple[int, ...]


def draw_params(
    recipe: AugmentationRecipe, seed: int, numbers: Sequence[int], bands: int
) -> AugmentationParams:
    """Draw what happens to the patches of some numbers."""
    chances = [np.random.default_rng([seed, number, STREAM]) for number in numbers]

    def each(least: float, most: float, count: int = 1) -> Tensor:
        drawn = np.stack([chance.uniform(least, most, count) for chance in chances])
        return torch.from_numpy(drawn.astype(np.float32)).view(len(numbers), count, 1, 1)

    def factor(limits: Range, count: int = 1) -> Tensor:
        return each(log(limits[0]), log(limits[1]), count).exp()

    def at_times(chance: float, limits: Range) -> Tensor:
        return torch.where(each(0, 1) < chance, each(*limits), torch.zeros(len(numbers), 1, 1, 1))

    dropped = (each(0, 1) < recipe.dropout_chance).flatten().numpy()
    return AugmentationParams(
        brightness=each(-recipe.brightness, recipe.brightness),
        contrast=factor(recipe.contrast),
        band_gain=factor(recipe.band_gain, bands),
        saturation=factor(recipe.saturation),
        gamma=factor(recipe.gamma),
        blur=at_times(recipe.blur_chance, recipe.blur),
        coarser=at_times(recipe.coarser_chance, recipe.coarser),
        sharpen=at_times(recipe.sharpen_chance, recipe.sharpen),
        noise=at_times(recipe.noise_chance, recipe.noise),
        jpeg=at_times(recipe.jpeg_chance, recipe.jpeg),
        haze=at_times(recipe.haze_chance, recipe.haze),
        shadow=at_times(recipe.shadow_chance, recipe.shadow),
        stretch=at_times(recipe.stretch_chance, recipe.stretch),
        fields=each(0, 1, 2 * FIELD * FIELD).view(len(numbers), 2, FIELD, FIELD),
        dropped=np.where(dropped & (bands > 1), each(0, bands).flatten().numpy().astype(np.int64), -1),
        seeds=tuple(int(chance.integers(2**31)) for chance in chances),
    )


def augment_images(images: Tensor, drawn: AugmentationParams) -> Tensor:
    """Vary light, air, optics, sensor and file, in the order in which they come into a picture."""
    images = apply_gamma(images, drawn)
    images = add_haze(add_shadow(images, drawn), drawn)
    images = adjust_colors(images, drawn)
    images = vary_chosen(blur_images, images, drawn.blur)
    images = coarsen_images(images, drawn.coarser)
    images = vary_chosen(sharpen_images, images, drawn.sharpen)
    images = add_noise(images, drawn)
    images = vary_chosen(compress_images, images, drawn.jpeg)
    return drop_bands(stretch_images(images, drawn.stretch), drawn.dropped)


def vary_chosen(vary: Callable[[Tensor, Tensor], Tensor], images: Tensor, amounts: Tensor) -> Tensor:
    """Vary those patches alone that are to be varied at all."""
    chosen = torch.nonzero(amounts.flatten() > 0).flatten()
    if not len(chosen):
        return images
    images = images.clone()
    images[chosen] = vary(images[chosen], amounts[chosen])
    return images


def apply_gamma(images: Tensor, drawn: AugmentationParams) -> Tensor:
    if not (drawn.gamma != 1).any():
        return images
    brighter: Tensor = images.clamp(min=1e-4) ** drawn.gamma.to(images.device)
    return brighter


def adjust_colors(images: Tensor, drawn: AugmentationParams) -> Tensor:
    """Change contrast, brightness, the balance of bands, and how much bands differ from each other."""
    device = images.device
    mean, grey = images.mean((1, 2, 3), keepdim=True), images.mean(1, keepdim=True)
    images = grey + (images - grey) * drawn.saturation.to(device)
    images = mean + (images - mean) * drawn.contrast.to(device)
    return images * drawn.band_gain.to(device) + drawn.brightness.to(device)


def make_smooth_field(drawn: AugmentationParams, which: int, like: Tensor) -> Tensor:
    """A smooth field from 0 to 1 over each patch."""
    coarse = drawn.fields[:, which : which + 1].to(like.device)
    return functional.interpolate(coarse, size=like.shape[-2:], mode="bilinear", align_corners=True)


def add_shadow(images: Tensor, drawn: AugmentationParams) -> Tensor:
    """Let the shadow of a cloud or of something tall fall on a part of the patch."""
    if not drawn.shadow.any():
        return images
    edge = ((make_smooth_field(drawn, 0, images) - 0.5) * SHADOW_STEEPNESS).sigmoid()
    return images * (1 - edge * drawn.shadow.to(images.device))


def add_haze(images: Tensor, drawn: AugmentationParams) -> Tensor:
    """Mix in the light of hazy air, more in some parts than in others."""
    if not drawn.haze.any():
        return images
    density = drawn.haze.to(images.device) * (0.5 + make_smooth_field(drawn, 1, images))
    return images + (HAZE_BRIGHTNESS - images) * density.clamp(max=THICKEST_HAZE)


def blur_images(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each patch by its own Gaussian; a sigma of 0 leaves it as it is."""
    reach = min(ceil(3 * float(sigma.max())), images.shape[-1] - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device)
    kernels = torch.exp(-(steps**2) / (2 * sigma.to(images.device).view(-1, 1).clamp(min=1e-3) ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)
    folded = images.flatten(0, 1)[None]
    padded = functional.pad(folded, [reach] * 4, "reflect")
    down = functional.conv2d(padded, kernels[:, None, :, None], groups=len(kernels))
    return functional.conv2d(down, kernels[:, None, None, :], groups=len(kernels))[0].view_as(images)


def coarsen_images(images: Tensor, factors: Tensor) -> Tensor:
    """Show patches as a sensor of larger pixels would have: blurred by its optics, sampled, brought back smoothly."""
    if not factors.any():
        return images
    images, side = images.clone(), images.shape[-1]
    for i in torch.nonzero(factors.flatten() > 0).flatten().tolist():
        factor = float(factors.flatten()[i])
        soft = blur_images(images[i : i + 1], torch.full((1, 1, 1, 1), OPTICS * factor))
        small = max(2, round(side / factor))
        sampled = functional.interpolate(soft, size=(small, small), mode="area")
        images[i] = functional.interpolate(sampled, size=(side, side), mode="bicubic", align_corners=False)[0]
    return images


def sharpen_images(images: Tensor, strength: Tensor) -> Tensor:
    return images + strength.to(images.device) * (images - blur_images(images, torch.ones_like(strength)))


def add_noise(images: Tensor, drawn: AugmentationParams) -> Tensor:
    if not drawn.noise.any():
        return images
    chances = [torch.Generator(images.device).manual_seed(seed) for seed in drawn.seeds]
    grain = torch.stack([torch.randn(images.shape[1:], generator=c, device=images.device) for c in chances])
    return images + grain * drawn.noise.to(images.device)


def compress_images(images: Tensor, strength: Tensor) -> Tensor:
    """Round the cosines of blocks of 8 x 8 pixels as JPEG does, coarser for the finer ones; 0 leaves a patch as it is."""
    strength = strength.to(images.device)
    height, width = images.shape[-2:]
    # As JPEG does, the last pixels are repeated to fill the last blocks.
    filled = functional.pad(images, [0, -width % BLOCK, 0, -height % BLOCK], "replicate")
    cosines = make_cosine_matrix().to(images.device)
    blocks = filled.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK)
    order = torch.arange(BLOCK, device=images.device)
    steps = strength[..., None, None] / 255 * (1 + order[:, None] + order[None, :]) / 2
    amounts = cosines @ blocks @ cosines.T
    rounded = (amounts / steps.clamp(min=1e-6)).round() * steps
    restored: Tensor = (cosines.T @ rounded @ cosines).transpose(3, 4).reshape(filled.shape)
    return torch.where(strength > 0, restored[..., :height, :width].clamp(0, 1), images)


def make_cosine_matrix() -> Tensor:
    """The orthonormal cosine transform of 8 values."""
    order = torch.arange(BLOCK, dtype=torch.float32)
    matrix: Tensor = (
        torch.cos(torch.pi / BLOCK * (order[None, :] + 0.5) * order[:, None]) * (2 / BLOCK) ** 0.5
    )
    matrix[0] /= 2**0.5
    return matrix


def stretch_images(images: Tensor, percent: Tensor) -> Tensor:
    """Stretch each band between its percentiles, as scenes of foreign values are, and as others stretch theirs for show."""
    images = images.clone() if percent.any() else images
    for i in torch.nonzero(percent.flatten() > 0).flatten().tolist():
        share = float(percent.flatten()[i]) / 100
        bands = images[i].flatten(1)
        low, high = (torch.quantile(bands, at, dim=1)[:, None, None] for at in (share, 1 - share))
        images[i] = ((images[i] - low) / (high - low).clamp(min=LEAST_SPAN)).clamp(0, 1)
    return images


def drop_bands(images: Tensor, dropped: NDArray[np.int64]) -> Tensor:
    """Put the mean of a band in its place."""
    if (dropped < 0).all():
        return images
    images = images.clone()
    for i in np.flatnonzero(dropped >= 0):
        images[i, dropped[i]] = images[i, dropped[i]].mean()
    return images
