"""What is found in scenes from drones when they are read in pixels of other sizes than the model's own.

    python tests/benchmarks/pixel_sizes.py IMAGERY --model MODEL --kept FOLDER [--sizes 0.15 0.2 0.25 0.3 0.4] [--learnt]

IoU of pixels, and F1 of single buildings as traced and parted. Places are those that no training saw; with `--learnt`, those
that the model learnt from. Time grows with the number of pixels: 0.2 m takes 2.25 times as long as 0.3 m.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from machine import table
from numpy.typing import NDArray
from places import Answer, list_answers, make_parser
from rasterio.features import rasterize
from splitting import average_groups, count_buildings, make_rule, trace

SIZES_M = (0.15, 0.2, 0.25, 0.3, 0.4)


def compare_pixels(answer: Answer) -> tuple[int, int]:
    """How many pixels are building in both truth and answer, and in either, where both are known."""
    truth, unknown = (
        rasterize(shapes, out_shape=answer.classes.shape) > 0
        if len(shapes)
        else np.zeros(answer.classes.shape, bool)
        for shapes in (answer.truth, answer.unknown)
    )
    found, known = answer.classes > 0, (answer.probabilities[0] <= 250) & ~unknown
    return int((found & truth & known).sum()), int(((found | truth) & known).sum())


def measure_iou(answers: list[Answer]) -> dict[str, float]:
    """The IoU of each place."""
    counts: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(2))
    for answer in answers:
        counts[answer.scene.place] += compare_pixels(answer)
    return {place: float(both / max(1, either)) for place, (both, either) in counts.items()}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=SIZES_M)
    parser.add_argument("--learnt", action="store_true", help="places that the model learnt from instead")
    wanted = parser.parse_args()
    cells: dict[str, list[str]] = defaultdict(list)
    for size in wanted.sizes:
        answers = list(
            list_answers(
                wanted.imagery, wanted.model, wanted.kept, learnt=wanted.learnt, gsd=str(size), group="drone"
            )
        )
        counts = count_buildings(
            answers, [trace(each) for each in answers], [make_rule(each) for each in answers]
        )
        iou = measure_iou(answers)
        for (_, place), count in sorted(counts.items()):
            cells[place].append(f"{iou[place]:.3f} {count.f1:.3f} x{count.ratio:.2f}")
        cells["mean"].append(f"{np.mean(list(iou.values())):.3f} {average_groups(counts)['drone']:.3f}")
    header = ("place", *(f"{size:g} m: IoU, F1, found for one" for size in wanted.sizes))
    print(table(header, [(place, *values) for place, values in cells.items()]))


if __name__ == "__main__":
    main()
