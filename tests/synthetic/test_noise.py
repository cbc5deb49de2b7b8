"""Chance depends on the seed and the place alone."""

import numpy as np
import pytest

from geoseg.synthetic.pixels import make_generator, sample_lattice, sample_noise


def test_noise_of_a_window_is_a_window_of_the_noise() -> None:
    ys, xs = np.arange(-40, 60) * 0.3, np.arange(900, 1100) * 0.3
    whole = sample_noise(4, 7.0, ys, xs)
    np.testing.assert_array_equal(sample_noise(4, 7.0, ys[13:50], xs[71:90]), whole[13:50, 71:90])


def test_noise_meets_the_lattice_at_its_knots() -> None:
    rows, cols = np.arange(-3, 9), np.arange(5, 12)
    np.testing.assert_allclose(
        sample_noise(1, 2.5, rows * 2.5, cols * 2.5), sample_lattice(1, rows, cols), atol=1e-6
    )


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_lattice_is_even_between_minus_one_and_one(seed: int) -> None:
    numbers = sample_lattice(seed, np.arange(-300, 300), np.arange(400))
    assert -1 <= numbers.min() < -0.999
    assert 0.999 < numbers.max() <= 1
    assert abs(numbers.mean()) < 0.01
    assert numbers.var() == pytest.approx(1 / 3, abs=0.01)


def test_neighbours_and_seeds_are_independent() -> None:
    numbers = sample_lattice(3, np.arange(500), np.arange(500))
    for other in (
        np.roll(numbers, 1, 0),
        np.roll(numbers, 1, 1),
        numbers.T,
        sample_lattice(4, np.arange(500), np.arange(500)),
    ):
        assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 0.02


def test_generators_differ_by_key_and_allow_negative_cells() -> None:
    assert make_generator(1, 2, -3).random() == make_generator(1, 2, -3).random()
    assert make_generator(1, 2, -3).random() != make_generator(1, 2, 3).random()
