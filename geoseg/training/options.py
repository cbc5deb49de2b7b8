"""What can be asked of training, in one flat table: a TOML file, flags of the same names, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from geoseg.errors import InputError
from geoseg.options import (
    ABOVE_ZERO,
    AT_LEAST_ONE,
    BELOW_ONE,
    FINITE,
    LOSSES,
    NETWORK,
    OUTPUTS,
    PATCHES,
    RESOURCES,
    SHARE,
    STEPS,
    ZERO_OR_MORE,
    Options,
    define_option,
)
from geoseg.records import parse_json

Preset = Literal["none", "flips", "light", "strong", "sensors"]
Optimizer = Literal["adamw", "adam", "adamax", "sgd"]
Schedule = Literal["cosine", "constant", "step", "plateau", "one-cycle"]
Stretch = Literal["auto", "never", "when-foreign", "always"]
PrecisionSetting = Literal["auto", "fp32", "bf16", "fp16"]
Seams = Literal["auto", "always", "never"]
Separate = Literal["auto", "always", "never"]

OPTIONS_FILE = "train.toml"
SEAMS_BELOW_M = 0.5
MOST_WORKERS = 8
WARMUP_STEPS = 100
WARMUP_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """How a model is trained. Every field can stand in the TOML file and be given as a flag."""

    name: str = define_option("", "Name of the model. [default: the folder's]", group=OUTPUTS)
    description: str = define_option("", "What the model is for, in a sentence, for its card.", group=OUTPUTS)
    licence: str = define_option("", "Licence of the weights. [default: that of the data]", group=OUTPUTS)

    architecture: str = define_option(
        "unet", "unet-plain, or a name of segmentation_models_pytorch: unet, fpn...", group=NETWORK
    )
    encoder: str = define_option(
        "resnet18", "Encoder of that library, e.g. resnet101 or tu-mobilenetv3_small_100.", group=NETWORK
    )
    weights: str = define_option(
        "imagenet", "Weights the encoder starts from: imagenet, none, or a file of them.", group=NETWORK
    )
    arguments: str = define_option(
        "", "Further arguments of the architecture, as JSON: {'encoder_depth': 4}.", group=NETWORK
    )
    start_from: str = define_option(
        "",
        "A geoseg model to start from; it also gives the architecture.",
        flags=("--from", "--start-from"),
        group=NETWORK,
    )
    derived: str = define_option(
        "", "Further bands by formula, e.g. 'ndvi; wet = (green - nir) / (green + nir)'.", group=NETWORK
    )

    patch: int = define_option(256, "Side of a patch in pixels.", AT_LEAST_ONE, group=PATCHES)
    gsd: float | None = define_option(
        None, "Resolution to train at, in metres. [default: the data set's]", ABOVE_ZERO, group=PATCHES
    )
    low: float | None = define_option(
        None, "Raw value that becomes 0. [default: 0 for bytes, else the data's]", FINITE, group=PATCHES
    )
    high: float | None = define_option(
        None, "Raw value that becomes 1. [default: 255 for bytes, else the data's]", FINITE, group=PATCHES
    )
    stretch: Stretch = define_option(
        "auto",
        "When an image's own percentiles replace low and high; when-foreign: where its values do not fit them. auto: "
        "when-foreign for bytes, or with --low or --high, else always.",
        group=PATCHES,
    )
    oversample: str = define_option(
        "", "Draw a class more often: auto, or e.g. building=3,road=2.", group=PATCHES
    )
    empty: float = define_option(
        1.0, "How often ground with nothing but background is drawn, from 0 to 1.", SHARE, group=PATCHES
    )
    place_balance: float = define_option(
        0.5,
        "0: large places are drawn more often, by their area; 1: all places equally often.",
        SHARE,
        group=PATCHES,
    )
    seams: Seams = define_option(
        "auto",
        "Where outlines touch, show a line of background one pixel wide, so that the model learns to separate buildings; "
        f"auto: where pixels are finer than {SEAMS_BELOW_M:g} m and the network has no outputs that separate buildings. Masks "
        "and validation stay as they are.",
        group=PATCHES,
    )
    separate: Separate = define_option(
        "auto",
        "Whether the network also learns where one building ends, as two further outputs: its boundary, and the distance "
        "to it. auto: with two classes, where there are outlines, or numbers of single buildings, to learn it from.",
        group=PATCHES,
    )
    augment: Preset = define_option(
        "strong",
        "How much patches are varied; flips: mirrored in both directions and nothing else; sensors: strong, and sometimes "
        "as a coarser sensor would show them.",
        group=PATCHES,
    )
    workers: int | None = define_option(
        None,
        f"Processes that read patches. [default: one for each processor, at most {MOST_WORKERS}]",
        ZERO_OR_MORE,
        group=RESOURCES,
    )

    loss: str = define_option(
        "auto",
        "A sum such as '0.5 * bce + dice' or 'unified-focal(gamma=0.3)'. auto: bce + dice; with more than two "
        "classes cross-entropy + dice.",
        group=LOSSES,
    )
    boundary_weight: float = define_option(
        0.7, "What the output boundary counts beside the loss of classes.", ZERO_OR_MORE, group=LOSSES
    )
    distance_weight: float = define_option(
        2.0, "What the output distance counts beside the loss of classes.", ZERO_OR_MORE, group=LOSSES
    )
    class_weights: str = define_option(
        "", "Weights of the classes in losses of single pixels: auto, or e.g. 1,4,2.", group=LOSSES
    )
    label_smoothing: float = define_option(
        0.0, "Share of certainty taken from the labels in losses of single pixels.", BELOW_ONE, group=LOSSES
    )

    steps: int = define_option(3000, "Steps of the optimizer.", AT_LEAST_ONE, group=STEPS)
    minutes: float = define_option(
        0.0,
        "Minutes to train for, where the steps take longer; tuning on all validation patches comes after. The schedule "
        "then goes by the clock, so that no two runs are alike to the last bit. 0: no limit.",
        ZERO_OR_MORE,
        group=STEPS,
    )
    batch: int = define_option(8, "Patches a step, over all processes.", AT_LEAST_ONE, group=STEPS)
    accumulate: int = define_option(
        1, "Pieces a process cuts its share of a batch into, to need less memory.", AT_LEAST_ONE, group=STEPS
    )
    optimizer: Optimizer = define_option("adamw", "What moves the weights.", group=STEPS)
    learning_rate: float = define_option(1e-3, "Highest learning rate.", ABOVE_ZERO, group=STEPS)
    weight_decay: float = define_option(1e-2, "Pull of the weights to zero.", ZERO_OR_MORE, group=STEPS)
    momentum: float = define_option(0.9, "Momentum of sgd.", BELOW_ONE, group=STEPS)
    schedule: Schedule = define_option("cosine", "How the learning rate changes.", group=STEPS)
    warmup: int | None = define_option(
        None,
        f"Steps until the learning rate is at its highest. [default: {WARMUP_STEPS}, at most a tenth of the run]",
        ZERO_OR_MORE,
        group=STEPS,
    )
    step_every: int = define_option(
        1000, "Steps between two drops of the schedule step.", AT_LEAST_ONE, group=STEPS
    )
    drop: float = define_option(
        0.1, "What the learning rate is multiplied with at a drop (step, plateau).", ABOVE_ZERO, group=STEPS
    )
    patience: int = define_option(
        3,
        "Validations without progress until the schedule plateau drops the rate.",
        ZERO_OR_MORE,
        group=STEPS,
    )
    clip: float = define_option(
        1.0, "Longest gradient; 0 leaves gradients as they are.", ZERO_OR_MORE, group=STEPS
    )
    ema: float = define_option(
        0.0,
        "Decay of the running mean of weights, e.g. 0.998; 0 takes the weights as they are.",
        BELOW_ONE,
        group=STEPS,
    )
    early_stopping: int = define_option(
        0, "Validations without progress until training stops; 0 never.", ZERO_OR_MORE, group=STEPS
    )
    seed: int = define_option(0, "The same seed gives the same run.", group=STEPS)
    precision: PrecisionSetting = define_option(
        "auto", "Arithmetic; auto: bf16 where the processor or GPU has it.", group=RESOURCES
    )
    device: str = define_option("auto", "auto, cpu, cuda, cuda:1 or mps.", group=RESOURCES)

    validate_every: int = define_option(250, "Steps between two validations.", AT_LEAST_ONE, group=STEPS)
    validation_patches: int = define_option(
        200, "Patches of a validation on the way; the last one takes all.", AT_LEAST_ONE, group=STEPS
    )
    checkpoint_every: int = define_option(100, "Steps between two checkpoints.", AT_LEAST_ONE, group=OUTPUTS)
    tensorboard: bool = define_option(False, "Write the numbers for TensorBoard as well.", group=OUTPUTS)
    half_weights: bool = define_option(False, "Keep the finished weights in 16 bits.", group=OUTPUTS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InputError(f"`high` {self.high:g}: must be above low, {self.low:g}")
        if self.warmup is not None and self.warmup >= self.steps:
            raise InputError(f"`warmup` {self.warmup}: must be shorter than the run, {self.steps} steps")

    @property
    def from_scratch(self) -> bool:
        """Whether the encoder starts from no weights."""
        return self.weights in ("", "none")

    @property
    def warmup_steps(self) -> int:
        """Steps of warm-up; by default never so many that a short run ends before it has begun to learn."""
        return min(WARMUP_STEPS, int(WARMUP_SHARE * self.steps)) if self.warmup is None else self.warmup

    def shows_seams(self, gsd_m: float) -> bool:
        """Whether outlines that touch are shown apart at a resolution."""
        return self.seams == "always" or (self.seams == "auto" and gsd_m < SEAMS_BELOW_M)

    @property
    def architecture_arguments(self) -> dict[str, Any]:
        """Further arguments of the architecture."""
        try:
            given = parse_json(self.arguments.replace("'", '"') or "{}")
        except ValueError as error:
            raise InputError(f"`arguments` {self.arguments}: not JSON ({error})") from error
        if not isinstance(given, dict):
            raise InputError(f"`arguments` {self.arguments}: write them like {{'encoder_depth': 4}}")
        return given
