"""On which grid a model should see a scene: buildings look right to it only at about its own resolution."""

from __future__ import annotations

from geoseg.errors import InputError
from geoseg.model.card import Card
from geoseg.narrator import Narrator
from geoseg.raster.scene import Scene

NEAR_ENOUGH = 1.25
GOOD_REFINEMENT = 1.5
LARGEST_COARSENESS = 5.0


def at_model_resolution(scene: Scene, card: Card, request: str, narrator: Narrator) -> Scene:
    """The scene on the grid that `--gsd` means: auto, native, or a number of metres."""
    native_m = scene.native.gsd_m
    wanted_m = wanted_gsd_m(native_m, card, request)
    if request != "auto":
        refuse_untolerated(card, wanted_m, request)
    if request == "native" or (wanted_m == native_m and not scene.native.is_geographic):
        return scene
    if native_m > LARGEST_COARSENESS * card.gsd_m:
        raise InputError(
            f"{scene.name}: pixels of {native_m:.3g} m are too coarse for {card.name}, which was made for "
            f"{card.gsd_m:g} m; use sharper imagery or a model made for {native_m:.2g} m"
        )
    if native_m > GOOD_REFINEMENT * wanted_m:
        narrator.warn(
            f"{scene.name}: pixels of {native_m:.3g} m are {native_m / wanted_m:.1f} times coarser than the {wanted_m:g} m "
            f"that {card.name} tolerates; expect merged and missed small buildings"
        )
    return scene.resampled(wanted_m)


def wanted_gsd_m(native_m: float, card: Card, request: str) -> float:
    if request == "native":
        return native_m
    if request == "auto":
        return best_gsd_m(native_m, card)
    try:
        metres = float(request)
    except ValueError:
        metres = 0.0
    if not 0 < metres < float("inf"):
        raise InputError(f"--gsd {request}: give auto, native or a size in metres above zero")
    return metres


def best_gsd_m(native_m: float, card: Card) -> float:
    """The scene's own pixels where the model takes them, for refining them adds nothing but work.

    Coarser ones are refined as little as the model needs. Finer ones become the model's: it was made for those.
    """
    if native_m * NEAR_ENOUGH < card.gsd_m:
        return card.gsd_m
    return min(native_m, max(card.gsd_m * NEAR_ENOUGH, card.gsd_range_m[1]))


def refuse_untolerated(card: Card, gsd_m: float, request: str) -> None:
    finest, coarsest = card.gsd_range_m
    # A little room, since a ground size computed from a CRS is never a round number.
    if not finest * 0.99 <= gsd_m <= coarsest * 1.01:
        raise InputError(
            f"--gsd {request}: pixels of {gsd_m:.3g} m are outside the {finest:g} to {coarsest:g} m that "
            f"{card.name} tolerates; use --gsd auto"
        )
