"""The look of a world: its light, its season, its roofs and how densely it is built. All of it follows from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import hypot, radians, tan

import numpy as np

from geoseg.synthetic.objects import Color, Material, RoofFinish
from geoseg.synthetic.pixels import make_generator

SETTINGS = ("village", "suburb", "town", "industrial")
DISTRICT_KINDS = (
    "forest",
    "fields",
    "farm",
    "park",
    "village",
    "suburb",
    "rows",
    "estate",
    "town",
    "industrial",
)
_SHARES = {
    "village": (1.0, 2.0, 1.4, 0.6, 3.0, 1.4, 0.6, 0.2, 0.3, 0.3),
    "suburb": (0.5, 0.6, 0.5, 0.9, 1.0, 3.4, 1.8, 1.0, 0.5, 0.6),
    "town": (0.2, 0.2, 0.2, 0.9, 0.4, 1.2, 1.6, 1.6, 3.6, 0.7),
    "industrial": (0.4, 0.8, 0.4, 0.5, 0.4, 1.0, 0.8, 0.8, 0.6, 3.4),
}
_ROOFS: dict[str, tuple[Color, ...]] = {
    "terracotta": ((172, 98, 72), (158, 84, 62), (186, 118, 90), (142, 78, 60), (176, 110, 84)),
    "grey": ((96, 98, 103), (118, 118, 120), (78, 80, 86), (134, 132, 130), (104, 98, 96)),
    "metal": (
        (186, 190, 194),
        (150, 160, 168),
        (124, 142, 160),
        (164, 92, 82),
        (128, 148, 128),
        (206, 204, 198),
    ),
    "thatch": ((134, 114, 86), (148, 128, 98), (116, 100, 78), (160, 142, 112)),
    "brown": ((112, 84, 70), (96, 74, 64), (128, 98, 80), (140, 112, 94)),
}
_GRASSES: dict[str, Color] = {
    "spring": (106, 126, 70),
    "summer": (98, 114, 68),
    "drought": (152, 142, 100),
    "autumn": (122, 120, 76),
}
_LEAVES: dict[str, tuple[Color, ...]] = {
    "spring": ((84, 106, 52), (96, 118, 60), (74, 98, 54)),
    "summer": ((64, 86, 46), (74, 94, 50), (58, 80, 48), (84, 100, 56)),
    "drought": ((82, 90, 56), (94, 98, 64), (74, 84, 54)),
    "autumn": ((120, 96, 48), (96, 92, 50), (138, 108, 54), (84, 88, 48)),
}


@dataclass(frozen=True)
class Sun:
    """Where shadows fall: a step (down, right) of one pixel along the longer axis, and the height lost per metre."""

    step: tuple[float, float]
    elevation: float

    @property
    def towards(self) -> tuple[float, float, float]:
        """The unit vector (x, y, z) to the sun, y down the image."""
        flat = hypot(*self.step)
        reach = np.cos(self.elevation) / flat
        return float(-self.step[1] * reach), float(-self.step[0] * reach), float(np.sin(self.elevation))

    @property
    def drop_per_step(self) -> float:
        """How much lower a shadow's edge is after one step, per metre of pixel size."""
        return hypot(*self.step) * tan(self.elevation)


@dataclass(frozen=True)
class Style:
    """What all districts of one world have in common."""

    seed: int
    setting: str
    season: str
    sun: Sun
    roofs: tuple[tuple[str, float], ...]
    grass: Color
    leaves: tuple[Color, ...]
    soil: Color
    asphalt: Color
    haze: float
    gain: Color
    contrast: float
    blur: float
    noise: float

    @property
    def shares(self) -> tuple[float, ...]:
        """How common each kind of district is, in the order of DISTRICT_KINDS."""
        return _SHARES[self.setting]

    def lawn(self, rng: np.random.Generator) -> Material:
        """Grass, mown or wild, a little different each time."""
        dry = rng.uniform(-0.1, 0.35)
        straw = np.array((168, 156, 112)) * dry + np.array(self.grass) * (1 - dry)
        return Material(vary_color(straw, rng, 0.07), fine=0.08, mid=0.10, broad=0.08)

    def paving(self, rng: np.random.Generator) -> Material:
        """Flagstones, gravel or concrete."""
        base = ((168, 163, 154), (150, 146, 140), (178, 166, 148), (160, 142, 128))[rng.integers(4)]
        return Material(vary_color(base, rng, 0.05), fine=0.05, mid=0.05, broad=0.05)

    def road(self) -> Material:
        return Material(self.asphalt, fine=0.035, mid=0.03, broad=0.07)

    def roof(self, rng: np.random.Generator) -> RoofFinish:
        """The covering of a pitched roof."""
        names, shares = zip(*self.roofs, strict=True)
        name = str(rng.choice(names, p=np.array(shares) / sum(shares)))
        colors = _ROOFS[name]
        color = vary_color(colors[rng.integers(len(colors))], rng, 0.08)
        if name == "metal":
            return RoofFinish(color, blotches=0.04, grain=0.02, seam_m=rng.uniform(0.6, 1.1), seam_depth=0.07)
        return RoofFinish(color, blotches=rng.uniform(0.05, 0.14), grain=rng.uniform(0.04, 0.09))

    def flat_roof(self, rng: np.random.Generator) -> RoofFinish:
        """Gravel, bitumen or white sheet."""
        base = ((168, 166, 162), (124, 122, 120), (206, 204, 200), (146, 140, 132), (98, 98, 100))[
            rng.integers(5)
        ]
        return RoofFinish(vary_color(base, rng, 0.05), blotches=0.09, grain=0.04)

    def sheet_roof(self, rng: np.random.Generator) -> RoofFinish:
        """The corrugated sheets of a hall."""
        colors = (*_ROOFS["metal"], (196, 198, 200), (172, 172, 170), (140, 138, 134))
        color = vary_color(colors[rng.integers(len(colors))], rng, 0.05)
        return RoofFinish(color, blotches=0.07, grain=0.02, seam_m=rng.uniform(1.0, 2.4), seam_depth=0.05)


def vary_color(color: Color | np.ndarray, rng: np.random.Generator, by: float) -> Color:
    """A colour made a little lighter or darker, and a little warmer or cooler."""
    light, warmth = 1 + by * rng.standard_normal(), 0.4 * by * rng.standard_normal()
    red, green, blue = np.clip(np.asarray(color) * light * (1 + warmth, 1.0, 1 - warmth), 8, 248)
    return float(red), float(green), float(blue)


@lru_cache(maxsize=64)
def make_style(seed: int) -> Style:
    """The look of the world `seed`."""
    rng = make_generator(seed, 1)
    season = str(rng.choice(list(_GRASSES), p=(0.25, 0.4, 0.2, 0.15)))
    warmth = rng.normal(0, 0.035)
    return Style(
        seed=seed,
        setting=SETTINGS[rng.integers(len(SETTINGS))],
        season=season,
        sun=_choose_sun(rng),
        roofs=_choose_roofs(rng),
        grass=vary_color(_GRASSES[season], rng, 0.08),
        leaves=_LEAVES[season],
        soil=vary_color(((146, 122, 96), (124, 106, 88), (166, 134, 102))[rng.integers(3)], rng, 0.06),
        asphalt=vary_color(((122, 122, 122), (104, 105, 108), (142, 138, 132))[rng.integers(3)], rng, 0.06),
        haze=float(rng.uniform(0.02, 0.13)),
        gain=(1 + warmth, 1.0, 1 - warmth),
        contrast=float(rng.uniform(0.92, 1.12)),
        blur=float(rng.uniform(0.08, 0.22)),
        noise=float(rng.uniform(1.5, 4.5)),
    )


def _choose_sun(rng: np.random.Generator) -> Sun:
    """A sun in the southern half of the sky, its direction in eighths so that shadows can be drawn by doubling."""
    minor = int(rng.integers(-8, 9)) / 8
    down_first = abs(minor) < 1 and rng.random() < 0.65
    step = (-1.0, minor) if down_first else (-abs(minor) or -0.125, float(rng.choice((-1.0, 1.0))))
    return Sun(step, radians(rng.uniform(34, 60)))


def _choose_roofs(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Which coverings are common here: one or two lead, the others are seldom."""
    shares = rng.dirichlet(np.full(len(_ROOFS), 0.5)) + 0.03
    return tuple(zip(_ROOFS, (float(share) for share in shares), strict=True))
