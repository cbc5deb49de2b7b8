"""Every number that steers how outlines are made straight, and where it comes from.

Lengths are in tolerances where nothing else is said: a tolerance is how far an outline may stray from a wall by chance.
"Real outlines" are those of tests/benchmarks/straightening.py, drawn by people; "made buildings" those of
tests/benchmarks/straightened.py, whose truth is exact. A number that is called settled is one that neither benchmark
answers to over the range that is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class NoiseRules:
    """How far an outline may stray from its walls by chance: the tolerance, which most other lengths are counted in."""

    tolerance_pixels: float = 2.0
    """A stair step and a pixel of doubt about where the wall is."""
    least_tolerance_m: float = 0.5
    """Finer pixels than 0.25 m show the roof's true edge no better: gutters and shadows are as wide."""
    tolerance_of_side: float = 0.15
    """A ring of this many square metres is a shed: more of its side than that would leave nothing of it."""
    rounded_corner: float = 0.5
    """So near to a corner the outline does not tell where the wall is, for networks round corners: on real outlines this
    gives 0.002 of IoU; 1 gives no more."""
    simple_share: float = 0.5
    """Corners are first looked for at this share of a tolerance, so that walls can be joined by how well they fit."""


@dataclass(frozen=True)
class DirectionRules:
    """Which directions, modulo a right angle, are the main ones of a building."""

    bins: int = 90
    """Headings are counted by the degree."""
    blur_bins: int = 5
    """... and each counts for its neighbours, too, less and less up to so many degrees away: as far as a short wall of
    ten pixels is uncertain."""
    windows_deg: tuple[float, ...] = (12.0, 8.0)
    """Walls up to so far off belong to the first direction, and to the second; settled from 8 to 20."""
    fair_share: float = 0.2
    """A direction carries at least this share of the outline: one wall of a box that is not too long."""
    greater_part: float = 0.5
    """All directions together carry at least this share, or else the building is round or free in shape."""
    harmony_deg: float = 3.0
    """Neighbours whose directions differ by less share one: row houses are built in one line."""


@dataclass(frozen=True)
class SquaringRules:
    """When a wall is turned to a main direction, and when it is no wall at all."""

    widest_turn_deg: float = 30.0
    """A wall is turned by so much at most. On real outlines 20 is better by 0.003 of boundary F1 at 0.25 m, on made
    buildings it leaves bitten corners, a point more for each building."""
    farthest_move: float = 1.0
    """... and its ends move no farther than this. With 1.5, boundary F1 at 0.25 m is lower by 0.003 on real outlines."""
    same_line: float = 1.0
    """Two walls of one direction are one when their lines lie no farther apart."""
    shortest_squared: float = 1.0
    """A shorter wall along a main direction is a stair step."""
    shortest_free: float = 2.0
    """A shorter wall between two walls in other directions is a corner rounded by the network."""
    shortest_cut: float = 3.0
    """... and one that cuts a right angle off is one up to this length."""


@dataclass(frozen=True)
class CornerRules:
    """Where two consecutive walls meet."""

    least_sine: float = 0.1
    """Lines that meet at less than 6 degrees meet too far away to be a corner."""
    farthest: float = 4.0
    """Two walls along main directions meet up to so far from the outline's corner: networks round corners off."""
    farthest_free: float = 2.0
    """Other walls do so only nearer by."""


@dataclass(frozen=True)
class JunctionRules:
    """Where three or more stretches of wall meet."""

    farthest: float = 1.5
    """The walls meet in one point, up to so far from the outline's. With 3, twice as many shapes overlap a neighbour or
    leave their outline."""
    same_line: float = 0.5
    """Facades that run through a junction are one line when they lie no farther apart than this: with 1, houses that are
    merely near one another were drawn in line, which cost 0.005 of boundary F1 at 0.25 m."""
    pull_to_outline: float = 1e-6
    """Along a line that leaves it open where they meet, the outline's own point decides."""


@dataclass(frozen=True)
class RoundRules:
    """Which outlines are round, and how they are drawn."""

    waves: int = 2
    """Circles and ovals are made of the first two waves of the distance from the middle; stair steps are shorter."""
    fewest_points: int = 12
    most_points: int = 90
    """From a small hut to a large gasholder."""
    sagitta: float = 1 / 8
    """A chord lies no deeper below its arc: far less than the outline is certain."""
    walls_of_a_box: int = 4
    """A circle has to fit as well as the walls do, were there so many; with more walls anything fits."""
    walls_of_a_disc: int = 6
    """From so many walls on, a circle is accepted that fits within the noise..."""
    disc_misfit: float = 0.6
    """... which is this, as a root mean square. With 7 and 0.5, one in five made tanks became a box; real outlines do not
    tell the difference."""


@dataclass(frozen=True)
class AcceptanceRules:
    """How far a straight shape may be from its outline."""

    least_iou: float = 0.85
    """A box drawn a pixel too large on every side of a house of 8 x 8 m has an IoU of 0.86."""
    most_area_change: float = 0.05
    """Areas are what footprints are asked for first..."""
    most_shift_pixels: float = 0.25
    """... but a small one may change by as much as if all of its outline had moved by this: no trace is more exact. Without
    it, a third of all shapes that were refused were refused for their area."""
    patience: int = 4
    """Rounds in which a footprint that fails goes back form by form; after that, it and its neighbours are traced."""


@dataclass(frozen=True)
class StraighteningRules:
    """All of it."""

    noise: NoiseRules = field(default_factory=NoiseRules)
    directions: DirectionRules = field(default_factory=DirectionRules)
    squaring: SquaringRules = field(default_factory=SquaringRules)
    corners: CornerRules = field(default_factory=CornerRules)
    junctions: JunctionRules = field(default_factory=JunctionRules)
    rounds: RoundRules = field(default_factory=RoundRules)
    acceptance: AcceptanceRules = field(default_factory=AcceptanceRules)


DEFAULT_RULES = StraighteningRules()
