"""Overlapping patches become seamless rows.

Every pixel lies in at most two patches of a row of patches, and every row in at most two rows of patches. So two
neighbours are joined by going from one to the other along a ramp: first along the columns inside a row of patches,
then along the rows. Equal neighbours stay exactly equal, no weights are summed or divided by, and since the order
of operations at a pixel never changes, neither strips nor workers can change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from geoseg.raster.plan import Plan


class Blender:
    """Takes rows of patches from the top down and gives the scene's rows as they become final."""

    def __init__(self, plan: Plan, outputs: int, device: torch.device) -> None:
        self.plan = plan
        self.outputs = outputs
        self.device = device
        self.ramp = torch.from_numpy(plan.ramp).to(device)
        self.tail: Tensor | None = None

    def add(self, patch_row: int, patches: Iterable[tuple[int, Tensor]]) -> Tensor:
        """Add a row of patches, as (column, probabilities), and give the rows (class, row, col) that it finishes."""
        plan = self.plan
        rows = self.join_columns(patches)
        if self.tail is not None:
            self.join(rows[:, : plan.overlap], self.tail, dim=1)
        first, stop = plan.rows_finished(patch_row)
        self.tail = rows[:, plan.stride :].clone()  # a view would keep all rows in memory
        return rows[:, : stop - first, : plan.width]

    def join_columns(self, patches: Iterable[tuple[int, Tensor]]) -> Tensor:
        """One row of patches as one wide image; where no patch was predicted it is zero."""
        plan = self.plan
        width = (plan.patch_cols - 1) * plan.stride + plan.patch
        canvas = torch.zeros((self.outputs, plan.patch, width), device=self.device)
        for column, patch in patches:
            left = column * plan.stride
            place = canvas[:, :, left : left + plan.patch]
            overlap = place[:, :, : plan.overlap].clone()
            place.copy_(patch)
            if column > 0:
                self.join(place[:, :, : plan.overlap], overlap, dim=2)
        return canvas

    def join(self, later: Tensor, earlier: Tensor, dim: int) -> None:
        """Where two neighbours overlap, let `later` begin with what `earlier` ends with."""
        margin, steps = self.plan.margin, len(self.ramp)
        later.narrow(dim, 0, margin).copy_(earlier.narrow(dim, 0, margin))
        ramp = self.ramp.view(-1, 1) if dim == 1 else self.ramp
        start = earlier.narrow(dim, margin, steps)
        middle = later.narrow(dim, margin, steps)
        middle.copy_(start + ramp * (middle - start))
