from __future__ import annotations

import inspect
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from geoseg.errors import InputError
from geoseg.training import losses
from geoseg.training.losses import (
    LOSSES,
    compute_balanced_weights,
    find_unused_loss_options,
    make_loss_inputs,
    parse_loss,
)
from geoseg.training.options import TrainOptions

GENERATOR = torch.Generator().manual_seed(3)
LOGITS = torch.randn(3, 1, 8, 8, generator=GENERATOR)
LABELS = torch.randint(0, 2, (3, 8, 8), generator=GENERATOR)
MANY_LOGITS = torch.randn(3, 4, 8, 8, generator=GENERATOR)
MANY_LABELS = torch.randint(0, 4, (3, 8, 8), generator=GENERATOR)


def loss(text: str, logits: Tensor, labels: Tensor, **others: Any) -> float:
    return float(parse_loss(text, logits.shape[1] == 1)(make_loss_inputs(logits, labels, **others)))


def constant(probability: float, side: int = 4) -> Tensor:
    """Logits that say the same probability everywhere."""
    return torch.full((1, 1, side, side), log(probability / (1 - probability)))


def half_true(side: int = 4) -> Tensor:
    labels = torch.zeros(1, side, side, dtype=torch.long)
    labels[:, : side // 2] = 1
    return labels


def test_cross_entropies_are_those_of_torch() -> None:
    expected = functional.binary_cross_entropy_with_logits(LOGITS[:, 0], LABELS.float())
    assert loss("bce", LOGITS, LABELS) == pytest.approx(float(expected), rel=1e-5)
    assert loss("cross-entropy", LOGITS, LABELS) == pytest.approx(float(expected), rel=1e-5)
    smoothed = functional.cross_entropy(MANY_LOGITS, MANY_LABELS, label_smoothing=0.1)
    assert loss("cross-entropy", MANY_LOGITS, MANY_LABELS, smoothing=0.1) == pytest.approx(
        float(smoothed), rel=1e-5
    )


def test_classes_weigh_as_they_are_told() -> None:
    weights = torch.tensor([1.0, 2.0, 0.0, 0.5])
    each = functional.cross_entropy(MANY_LOGITS, MANY_LABELS, weight=weights, reduction="none")
    answer = loss("cross-entropy", MANY_LOGITS, MANY_LABELS, class_weights=weights)
    assert answer == pytest.approx(float(each.mean()), rel=1e-5)


def test_bce_of_many_classes_is_each_against_the_others() -> None:
    probabilities = MANY_LOGITS.softmax(1)
    truth = functional.one_hot(MANY_LABELS, 4).permute(0, 3, 1, 2).float()
    expected = functional.binary_cross_entropy(probabilities, truth)
    assert loss("bce", MANY_LOGITS, MANY_LABELS) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_overlap_losses_by_hand(p: float) -> None:
    # 16 pixels, 8 of them true, probability p everywhere: 8p met, 8(1-p) missed, 8p wrong.
    met, missed, wrong = 8 * p, 8 * (1 - p), 8 * p
    logits, labels = constant(p), half_true()
    assert loss("dice(smooth=0)", logits, labels) == pytest.approx(
        1 - 2 * met / (2 * met + missed + wrong), abs=1e-5
    )
    assert loss("jaccard(smooth=0)", logits, labels) == pytest.approx(
        1 - met / (met + missed + wrong), abs=1e-5
    )
    expected = 1 - (met + 1) / (met + 0.2 * wrong + 0.8 * missed + 1)
    assert loss("tversky(alpha=0.2, beta=0.8)", logits, labels) == pytest.approx(expected, abs=1e-5)
    focal = -((1 - p) ** 2 * log(p) + p**2 * log(1 - p)) / 2
    assert loss("focal", logits, labels) == pytest.approx(focal, rel=1e-4)


def test_tversky_with_equal_prices_is_dice_and_with_full_prices_jaccard() -> None:
    half = loss("tversky(alpha=0.5, beta=0.5, smooth=0)", LOGITS, LABELS)
    assert half == pytest.approx(loss("dice(smooth=0)", LOGITS, LABELS), abs=1e-6)
    full = loss("tversky(alpha=1, beta=1)", LOGITS, LABELS)
    assert full == pytest.approx(loss("jaccard", LOGITS, LABELS), abs=1e-6)


def test_focal_without_focus_is_cross_entropy() -> None:
    assert loss("focal(gamma=0)", MANY_LOGITS, MANY_LABELS) == pytest.approx(
        loss("cross-entropy", MANY_LOGITS, MANY_LABELS), rel=1e-5
    )


@pytest.mark.parametrize("p", [0.2, 0.6])
@pytest.mark.parametrize(("delta", "gamma"), [(0.6, 0.5), (0.7, 0.2)])
def test_unified_focal_losses_by_hand(p: float, delta: float, gamma: float) -> None:
    background = (1 - delta) * -log(1 - p) / 2
    building = delta * -log(p) / 2
    # Tversky index of each class: 8(1-p) and 8p met of 8 each.
    index = {q: q / (q + delta * (1 - q) + (1 - delta) * q_wrong) for q, q_wrong in ((p, p), (1 - p, 1 - p))}
    far_background, far_building = 1 - index[1 - p], 1 - index[p]
    symmetric = 0.5 * (p**gamma * background + (1 - p) ** gamma * building)
    symmetric += 0.25 * (far_background ** (1 - gamma) + far_building ** (1 - gamma))
    asymmetric = 0.5 * (p**gamma * background + building)
    asymmetric += 0.25 * (far_background + far_building ** (1 - gamma))
    values = f"(delta={delta}, gamma={gamma})"
    assert loss(f"unified-focal{values}", constant(p), half_true()) == pytest.approx(symmetric, rel=1e-4)
    answer = loss(f"unified-focal-asymmetric{values}", constant(p), half_true())
    assert answer == pytest.approx(asymmetric, rel=1e-4)


def test_the_unified_focal_loss_has_its_limits() -> None:
    # Without focus and with even prices it is half cross-entropy and the Dice loss of both classes.
    values = "(weight=0, delta=0.5, gamma=0)"
    half = loss("cross-entropy", LOGITS, LABELS) / 2
    assert loss(f"unified-focal{values}", LOGITS, LABELS) == pytest.approx(half, rel=1e-5)
    assert loss(f"unified-focal-asymmetric{values}", LOGITS, LABELS) == pytest.approx(half, rel=1e-5)
    both = make_loss_inputs(LOGITS, LABELS)
    flipped = make_loss_inputs(-LOGITS, 1 - LABELS)
    expected = (losses.dice_loss(both, smooth=0) + losses.dice_loss(flipped, smooth=0)).mean() / 2
    values = "(weight=1, delta=0.5, gamma=0)"
    assert loss(f"unified-focal{values}", LOGITS, LABELS) == pytest.approx(float(expected), rel=1e-4)


def test_lovasz_of_hard_answers_is_one_less_iou() -> None:
    answers = torch.randint(0, 2, LABELS.shape, generator=torch.Generator().manual_seed(9))
    expected = []
    for answer, label in zip(answers, LABELS, strict=True):
        both = ((answer == 1) & (label == 1)).sum()
        expected.append(1 - float(both / ((answer == 1) | (label == 1)).sum()))
    logits = (answers.float() * 2 - 1)[:, None] * 50
    assert loss("lovasz", logits, LABELS) == pytest.approx(np.mean(expected), abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("logits", "labels"), [(LOGITS, LABELS), (MANY_LOGITS, MANY_LABELS)])
def test_unknown_pixels_count_nowhere(name: str, logits: Tensor, labels: Tensor) -> None:
    narrow = loss(name, logits[..., :5], labels[..., :5])
    partly = labels.clone()
    partly[..., 5:] = 255
    wild = logits.clone()
    wild[..., 5:] = 40
    wild.requires_grad_()
    value = parse_loss(name, logits.shape[1] == 1)(make_loss_inputs(wild, partly))
    value.backward()
    assert float(value.detach()) == pytest.approx(narrow, rel=1e-4)
    assert wild.grad is not None
    assert not wild.grad[..., 5:].any()
    assert torch.isfinite(wild.grad).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_right_answers_cost_nothing_and_wrong_ones_much(name: str, channels: int) -> None:
    labels = torch.randint(0, max(2, channels), (2, 8, 8), generator=torch.Generator().manual_seed(1))
    truth = functional.one_hot(labels, max(2, channels)).permute(0, 3, 1, 2).float() * 2 - 1
    right = (truth if channels > 1 else truth[:, 1:]) * 40
    assert loss(name, right, labels) == pytest.approx(0, abs=2e-2 if "unified" in name else 1e-4)
    assert loss(name, -right, labels) > 0.3


REGIONS = [
    "dice",
    "jaccard",
    "tversky",
    "lovasz",
    "unified-focal(weight=1)",
    "unified-focal-asymmetric(weight=1)",
]


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize(("logits", "labels"), [(LOGITS, LABELS), (MANY_LOGITS, MANY_LABELS)])
def test_regions_are_compared_with_the_plain_truth(name: str, logits: Tensor, labels: Tensor) -> None:
    assert loss(name, logits, labels, smoothing=0.3) == loss(name, logits, labels)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "lovasz"])
def test_a_perfect_answer_costs_nothing_however_labels_are_smoothed(name: str) -> None:
    """A patch of two classes out of five: the other three are not there, and cost nothing either."""
    labels = half_true()
    logits = functional.one_hot(labels, 5).permute(0, 3, 1, 2) * 80.0
    assert loss(name, logits, labels, smoothing=0.1) == pytest.approx(0, abs=1e-6)
    assert loss(name, logits[:, 1:2] - 40, labels, smoothing=0.1) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_smoothed_labels_of_single_pixels_by_hand(p: float) -> None:
    # Labels of 0.9 and 0.1 instead of 1 and 0; half of the pixels are true.
    true, other = -log(p), -log(1 - p)
    expected = ((0.9 * true + 0.1 * other) + (0.9 * other + 0.1 * true)) / 2
    assert loss("bce", constant(p), half_true(), smoothing=0.2) == pytest.approx(expected, rel=1e-5)
    true, other = true * (1 - p) ** 2, other * p**2
    expected = ((0.9 * true + 0.1 * other) + (0.9 * other + 0.1 * true)) / 2
    assert loss("focal", constant(p), half_true(), smoothing=0.2) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_known_costs_nothing(name: str) -> None:
    logits = LOGITS.clone().requires_grad_()
    value = parse_loss(name, True)(make_loss_inputs(logits, torch.full_like(LABELS, 255)))
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_costs_the_mean_of_its_patches(name: str) -> None:
    one_by_one = [loss(name, MANY_LOGITS[i : i + 1], MANY_LABELS[i : i + 1]) for i in range(3)]
    assert loss(name, MANY_LOGITS, MANY_LABELS) == pytest.approx(np.mean(one_by_one), rel=1e-5)


def test_a_sum_is_the_sum_of_its_terms() -> None:
    expected = 0.5 * loss("bce", LOGITS, LABELS) + 2 * loss("focal(gamma=1.5)", LOGITS, LABELS)
    assert loss("0.5 * bce + 2*focal(gamma=1.5)", LOGITS, LABELS) == pytest.approx(expected, rel=1e-6)


def test_pixels_weigh_in_the_boundary_loss_alone() -> None:
    weight = torch.zeros(LABELS.shape)
    weight[:, :4] = 3
    plain = functional.binary_cross_entropy_with_logits(LOGITS[:, 0], LABELS.float(), reduction="none")
    expected = float((plain * weight).mean())
    assert loss("boundary", LOGITS, LABELS, weight=weight) == pytest.approx(expected, rel=1e-5)
    assert loss("bce", LOGITS, LABELS, weight=weight) == pytest.approx(float(plain.mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1e-1 * dice+bce", "0.1 * dice + bce"),
        ("1e+1*dice + .5*bce", "10 * dice + 0.5 * bce"),
        ("2.E+0 * dice", "2 * dice"),
        ("focal(gamma=1e-3)", "focal(gamma=0.001)"),
    ],
)
def test_numbers_are_written_in_any_way(text: str, plain: str) -> None:
    assert parse_loss(text, True).terms == parse_loss(plain, True).terms


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
@pytest.mark.parametrize("label", [0, 255])
def test_unsmoothed_shares_of_nothing_are_nothing(name: str, label: int) -> None:
    """Where neither truth nor answer holds a pixel there is 0 of 0."""
    logits = torch.full((1, 1, 4, 4), -200.0, requires_grad=True)
    labels = torch.full((1, 4, 4), label)
    value = parse_loss(f"{name}(smooth=0)", True)(make_loss_inputs(logits, labels))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("logits", "labels"), [(LOGITS, LABELS), (MANY_LOGITS, MANY_LABELS)])
def test_settings_that_a_loss_does_not_heed_change_nothing_and_are_told(
    name: str, logits: Tensor, labels: Tensor
) -> None:
    weights = torch.tensor([0.3, 2.0, 1.0, 0.7])[: max(2, logits.shape[1])]
    changes: dict[str, Any] = {
        "`class_weights`": {"class_weights": weights},
        "`label_smoothing`": {"smoothing": 0.2},
    }
    plain = loss(name, logits, labels)
    idle = {flag for flag, change in changes.items() if loss(name, logits, labels, **change) == plain}
    told = find_unused_loss_options(
        parse_loss(name, True), TrainOptions(class_weights="auto", label_smoothing=0.2)
    )
    assert {line.split()[0] for line in told} == idle


def test_what_a_loss_does_not_heed_is_told_in_one_line() -> None:
    (line,) = find_unused_loss_options(
        parse_loss("dice + unified-focal", True), TrainOptions(class_weights="1,4", label_smoothing=0.1)
    )
    assert line.startswith("`class_weights` 1,4: changes nothing in the loss dice + unified-focal; only ")
    assert "such as bce, cross-entropy, focal, boundary" in line
    assert find_unused_loss_options(parse_loss("dice", True), TrainOptions()) == []
    assert (
        find_unused_loss_options(
            parse_loss("auto", True), TrainOptions(class_weights="1,4", label_smoothing=0.1)
        )
        == []
    )


def test_parameters_are_those_of_the_functions() -> None:
    for kind in LOSSES.values():
        assert list(inspect.signature(kind.loss).parameters)[1:] == list(kind.limits)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hinge", "unknown loss 'hinge'; known are bce"),
        ("bce +", "cannot be read"),
        ("focal(alpha=1)", "no parameter 'alpha'; it has gamma"),
        ("focal(gamma)", "written like"),
        ("1.2.3 * bce", "the factor of bce is '1.2.3', which is no number"),
        ("bce + -1 * dice", "the factor of dice is -1; give a finite number above zero"),
        ("inf * dice", "the factor of dice is inf; give a finite number above zero"),
        ("focal(gamma=high)", "gamma of focal is 'high', which is no number"),
        ("focal(gamma=-1)", "gamma of focal is -1; give a finite number, zero or more"),
        ("focal(gamma=nan)", "gamma of focal is nan; give"),
        ("dice(smooth=1e999)", "smooth of dice is 1e999; give"),
        ("unified-focal(gamma=3)", "gamma of unified-focal is 3; give a number from 0 to 1"),
        (
            "unified-focal-asymmetric(delta=1.1)",
            "delta of unified-focal-asymmetric is 1.1; give a number from 0",
        ),
        ("unified-focal(weight=-0.1)", "weight of unified-focal is -0.1; give a number from 0 to 1"),
        ("tversky(alpha=0,beta=0,smooth=0)", "alpha of tversky is 0; give a finite number above zero"),
    ],
)
def test_a_loss_that_cannot_be_meant_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(InputError) as told:
        parse_loss(text, True)
    assert complaint in str(told.value)


def test_balanced_weights_favour_rare_classes_and_are_one_on_average() -> None:
    counts = [900, 100, 0]
    weights = compute_balanced_weights(counts)
    assert weights[1] / weights[0] == pytest.approx(3)
    assert np.dot(weights, counts) / sum(counts) == pytest.approx(1)
    assert weights[2] == 0
    assert compute_balanced_weights([0, 0]) == [1, 1]
