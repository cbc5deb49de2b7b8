"""Overlapping patches become seamless rows.

Every pixel lies in at most two patches of a row of patches, and every row in at most two rows of patches. So two
neighbours are joined by going from one to the other along a ramp: first along the columns inside a row of patches,
then along the rows. Equal neighbours stay exactly equal, no weights are summed or divided by, and since the order
of operations at a pixel never changes, neither strips nor workers can change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Iterable

from geoseg.models.backends.base import Array, Device
from geoseg.raster.plan import Plan


class Blender:
    """Takes rows of patches from the top down and gives the scene's rows as they become final."""

    def __init__(self, plan: Plan, outputs: int, device: Device) -> None:
        self.plan = plan
        self.device = device
        self.ramp = device.upload(plan.ramp)
        self.tail: Array | None = None
        width = (plan.patch_cols - 1) * plan.stride + plan.patch
        self.canvas = device.xp.empty(
            (outputs, plan.patch, width), dtype=device.xp.float32, device=device.name
        )

    def add(self, patch_row: int, patches: Iterable[tuple[int, Array]]) -> Array:
        """Add a row of patches, as (column, probabilities), and give the rows (class, row, col) that it finishes.

        They stand where the next ones will.
        """
        plan = self.plan
        rows = self.join_columns(patches)
        if self.tail is not None:
            self.join(rows[:, : plan.overlap].swapaxes(1, 2), self.tail.swapaxes(1, 2))
        first, stop = plan.rows_finished(patch_row)
        self.tail = self.copy(rows[:, plan.stride :])  # a view would keep all rows in memory
        return rows[:, : stop - first, : plan.width]

    def join_columns(self, patches: Iterable[tuple[int, Array]]) -> Array:
        """One row of patches as one wide image; where no patch was predicted it is zero."""
        plan, canvas = self.plan, self.canvas
        canvas[...] = 0
        for column, patch in patches:
            left = column * plan.stride
            place = canvas[:, :, left : left + plan.patch]
            overlap = self.copy(place[:, :, : plan.overlap])
            place[...] = patch
            if column > 0:
                self.join(place[:, :, : plan.overlap], overlap)
        return canvas

    def join(self, later: Array, earlier: Array) -> None:
        """Where two neighbours overlap along the last axis, let `later` begin with what `earlier` ends with."""
        margin, steps = self.plan.margin, len(self.ramp)
        later[..., :margin] = earlier[..., :margin]
        start, middle = (each[..., margin : margin + steps] for each in (earlier, later))
        middle[...] = start + self.ramp * (middle - start)

    def copy(self, values: Array) -> Array:
        return self.device.xp.asarray(values, copy=True)
