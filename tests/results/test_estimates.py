from statistics import NormalDist

import numpy as np
import pytest

from jaxsat.results import estimates


def test_growth_rate_of_a_line_and_of_polyfit():
    layers = np.arange(1, 31)
    noise = np.random.default_rng(0).normal(size=(5, 30))
    assert estimates.growth_rates(-0.3 * layers)[()] == pytest.approx(0.3)
    fitted = [-np.polyfit(layers[3:-3], row[3:-3], 1)[0] for row in noise]
    np.testing.assert_allclose(estimates.growth_rates(noise), fitted, rtol=1e-10)


def test_growth_rate_of_an_exact_zero_is_not_a_number():
    assert np.isnan(estimates.growth_rates(np.full(20, -np.inf)))
    with pytest.raises(ValueError, match="at least 2 layers; got 1"):
        estimates.growth_rates(np.ones(1))


def test_mean_interval_covers_as_often_as_it_says():
    values = np.random.default_rng(1).normal(size=(4000, 50))
    interval = estimates.mean_interval(values)
    covered = ((interval.low < 0) & (interval.high > 0)).mean()
    # t with 49 degrees of freedom: 94.4 % within 1.96 standard errors
    assert abs(covered - 0.944) < 4 * np.sqrt(0.944 * 0.056 / 4000)
    with_gaps = np.where(np.arange(50) < 10, np.nan, values)
    np.testing.assert_allclose(estimates.mean_interval(with_gaps).estimate, values[:, 10:].mean(1))
    assert (estimates.mean_interval(with_gaps).count == 40).all()


def test_band_ranks_exact_zeros_and_leaves_out_nan():
    values = np.r_[np.full(10, -np.inf), np.arange(91.0), np.nan]
    assert estimates.band(values).tolist() == [-np.inf, 40, 85]
    assert np.isnan(estimates.band(np.full(4, np.nan))).all()


def test_zero_crossing_is_found_with_an_interval_that_covers():
    generator = np.random.default_rng(2)
    scales, hits = np.array([1.0, 1.2, 1.6, 2.0]), 0
    for trial in range(200):
        rates = np.log(scales / 1.414)[:, None] + generator.normal(0, 0.05, 40)
        (crossing,) = estimates.zero_crossings(scales, rates, seed=trial, resamples=300)
        hits += crossing.low <= 1.414 <= crossing.high
    assert 0.93 - 4 * np.sqrt(0.07 * 0.93 / 200) < hits / 200 <= 1  # bootstrap percentiles are slightly narrow at 40
    assert crossing.at == pytest.approx(1.414, rel=0.04)


def test_scales_out_of_order_and_nothing_to_rank():
    with pytest.raises(ValueError, match="`scales` must be positive and ascending"):
        estimates.zero_crossings(np.array([0.0, 1.0]), np.ones((2, 3)))
    with pytest.raises(ValueError, match="at least one network"):
        estimates.band(np.zeros((2, 0)))


def test_no_crossing():
    assert estimates.zero_crossings(np.array([1.0, 2.0]), np.full((2, 5), -1.0)) == []
    assert estimates.zero_crossings(np.array([1.0, 2.0]), np.full((2, 5), np.nan)) == []


def test_density_and_distribution_of_a_known_law():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 20))
    edges = np.linspace(-2, 2, 9)
    exact = np.diff([NormalDist().cdf(e) for e in edges]) / 0.5
    found = estimates.density(values, edges)
    # 95 % bands of 8 bins; with independent values a bin's standard error is known too
    error = np.sqrt(exact * 0.5 * (1 - exact * 0.5) / 8000) / 0.5
    assert np.all(np.abs(found.estimate - exact) < 4 * error)
    np.testing.assert_allclose((found.high - found.low) / 3.92, error, rtol=0.25)
    below = estimates.distribution(values, edges)
    assert np.all(np.abs(below.estimate - [NormalDist().cdf(e) for e in edges]) < 4 * 0.5 / np.sqrt(8000))


def test_bands_over_seeds_know_that_values_of_one_seed_belong_together():
    values = np.repeat(np.random.default_rng(1).normal(size=(200, 1)), 50, axis=1)  # one value a seed, 50 times
    below = estimates.distribution(values, np.zeros(1))
    assert (below.high - below.low)[0] == pytest.approx(3.92 * 0.5 / np.sqrt(200), rel=0.25)


def test_density_leaves_out_nan_and_counts_lost_directions():
    values = np.array([[0.5, -np.inf], [np.nan, np.nan]])
    assert estimates.density(values, np.array([0.0, 1.0])).estimate.tolist() == [0.5]
    with pytest.raises(ValueError, match="at least one network without NaN"):
        estimates.density(values[1:], np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="`edges` must be at least two, ascending"):
        estimates.density(values, np.array([1.0]))


def test_std_interval_of_normal_and_of_uniform_values():
    """It covers the true value in 95 % of samples, whatever the kurtosis: 3 standard errors of that share over 400."""
    rng = np.random.default_rng(0)
    for draws, true in ((rng.normal(size=(400, 1000)), 1.0), (rng.uniform(size=(400, 1000)), 12**-0.5)):
        found = estimates.std_interval(draws)
        covered = np.mean((found.low <= true) & (true <= found.high))
        assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 400) + 0.01  # the interval is asymptotic


def test_share_interval_is_wilsons():
    """The ends solve |share - p| = z sqrt(p (1 - p) / n) (Wilson 1927)."""
    found = estimates.share_interval(np.array([0, 3, 20]), 20)
    for end in (found.low, found.high):
        inside = (end > 0) & (end < 1)
        gap, error = np.abs(found.estimate - end), 1.96 * np.sqrt(end * (1 - end) / 20)
        np.testing.assert_allclose(gap[inside], error[inside], rtol=1e-12)
    assert (found.low[0], found.high[-1]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="`successes` must be from 0 to `count`"):
        estimates.share_interval(3, 2)
