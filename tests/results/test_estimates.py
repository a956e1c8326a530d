"""Estimates against closed forms; what they say about coverage against simulation."""

from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

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


def draws(law, trials, count):
    """Values of a law, (trials, count), with their true mean and standard deviation."""
    rng = np.random.default_rng(count)
    if law == "normal":
        return rng.normal(size=(trials, count)), 0.0, 1.0
    if law == "uniform":
        return rng.uniform(size=(trials, count)), 0.5, 12**-0.5
    if law == "exponential":
        return rng.exponential(size=(trials, count)), 1.0, 1.0
    spread = np.exp(0.5**2)
    return rng.lognormal(sigma=0.5, size=(trials, count)), spread**0.5, np.sqrt((spread - 1) * spread)


def assert_covers(interval, true, least, most):
    """The share of intervals that hold the true value, within three standard errors of a share."""
    held = np.mean((interval.low <= true) & (true <= interval.high))
    slack = 3 * np.sqrt(0.05 * 0.95 / np.size(interval.low))
    assert least - slack < held < most + slack, held


@pytest.mark.parametrize("count", [4, 8, 16, 64])
@pytest.mark.parametrize("law", ["normal", "lognormal", "exponential"])
def test_mean_interval_covers_as_often_as_it_says(law, count):
    values, mean, _ = draws(law, 20_000, count)
    assert_covers(estimates.mean_interval(values), mean, 0.93, 0.97)


@pytest.mark.parametrize("count", [4, 8, 16, 64])
@pytest.mark.parametrize("law", ["normal", "uniform", "lognormal", "exponential"])
def test_std_interval_covers_as_often_as_it_says(law, count):
    values, _, std = draws(law, 10_000, count)
    assert_covers(estimates.std_interval(values), std, 0.93, 0.98)


@pytest.mark.parametrize("count", [2, 3, 4, 9, 30, 400, 500, 10_000])
def test_symmetric_values_have_students_interval(count):
    """Values that lie evenly on both sides of 0 have no skewness; SciPy knows the quantile."""
    values = np.linspace(-1, 1, count)
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)
    found = estimates.mean_interval(values)
    np.testing.assert_allclose([found.low, found.high], [-half, half], rtol=1e-6)  # the expansion beyond 400


def test_intervals_leave_out_nan_and_know_nothing_of_too_few():
    values = np.random.default_rng(1).normal(size=(3, 50))
    with_gaps = np.where(np.arange(50) < 10, np.nan, values)
    for interval in (estimates.mean_interval, estimates.std_interval):
        for found, expected in zip(interval(with_gaps), interval(values[:, 10:]), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)
        along_first = interval(with_gaps.T, axis=0)
        np.testing.assert_allclose(along_first.low, interval(with_gaps).low, rtol=1e-12)
        assert (along_first.count == 40).all()
    assert np.isnan(estimates.mean_interval(np.array([1.0, np.nan]))[1:3]).all()
    assert np.isnan(estimates.std_interval(np.array([1.0, 2.0, np.nan]))[1:3]).all()
    equal = estimates.mean_interval(np.full(5, 2.0))
    assert (equal.low, equal.high) == (2.0, 2.0)


def test_band_ranks_exact_zeros_and_leaves_out_nan():
    values = np.r_[np.full(10, -np.inf), np.arange(91.0), np.nan]
    assert estimates.band(values).tolist() == [-np.inf, 40, 85]
    assert np.isnan(estimates.band(np.full(4, np.nan))).all()


@pytest.mark.parametrize("count", [4, pytest.param(16, marks=pytest.mark.slow)])
def test_zero_crossing_is_found_with_an_interval_that_covers(count):
    generator = np.random.default_rng(count)
    scales, intervals = np.array([1.0, 1.3, 1.6, 2.0]), []
    for _ in range(300):  # the rate is linear in ln scale: interpolation adds no error
        rates = np.log(scales / 1.414)[:, None] + generator.normal(0, 0.05, count) * (1 + scales[:, None])
        (crossing,) = estimates.zero_crossings(scales, rates)
        assert crossing.low < crossing.at < crossing.high
        intervals.append(crossing)
    ends = np.array(intervals)
    assert_covers(estimates.Interval(*ends.T, np.array(count)), 1.414, 0.93, 0.97)


def test_ends_of_a_crossing_by_the_quadratic_of_fieller():
    """Symmetric rates: (m0 + m' x)^2 = t^2 (variance of the mean at x), a quadratic in x = ln scale."""
    scales, side = np.exp([0.0, 1.0]), np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    rates = np.stack([-1 + 0.1 * side, 1 + 0.2 * side])
    (found,) = estimates.zero_crossings(scales, rates)
    t2 = stats.t.ppf(0.975, 4) ** 2 * np.var(side, ddof=1) / 5
    ends = np.roots([4 - 0.01 * t2, -4 - 0.02 * t2, 1 - 0.01 * t2])
    np.testing.assert_allclose(np.log([found.low, found.high]), np.sort(ends), atol=2e-5)  # cells of 2^-15
    (wide,) = estimates.zero_crossings(scales, rates * np.array([[1], [1]]) + 5 * side)
    assert (wide.low, wide.high) == (0.0, np.inf)
    (alone,) = estimates.zero_crossings(scales, rates[:, 2:3])
    assert np.isnan([alone.low, alone.high]).all()


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


@pytest.mark.parametrize("count", [4, 8, 16, 64])
def test_bands_of_pooled_values_cover_as_often_as_they_say(count):
    """Values of a network have correlation 1/2; at shares of 0.1, 0.3 and 0.5."""
    rng, shares, k, trials = np.random.default_rng(count), np.array([0.1, 0.3, 0.5]), 8, 400
    points = stats.norm.ppf(shares) * np.sqrt(2)
    found = [
        estimates.distribution(rng.normal(size=(count, k)) + rng.normal(size=(count, 1)), points) for _ in range(trials)
    ]
    low, high = (np.stack([getattr(interval, end) for interval in found]) for end in ("low", "high"))
    held = ((low <= shares) & (shares <= high)).mean(0)
    slack = 3 * np.sqrt(0.05 * 0.95 / trials)
    assert (held > 0.93 - slack).all(), held
    assert count < 16 or (held < 0.98 + slack).all(), held


def test_a_bin_that_no_network_reaches_has_a_band():
    """Wilson's interval of 0 out of 20 networks, times the 2 of 10 values that one may have there."""
    found = estimates.density(np.zeros((20, 10)), np.array([-1.0, 1.0, 3.0]))
    np.testing.assert_allclose(found.estimate, [0.5, 0.0])
    assert found.low[1] == 0
    assert found.high[1] == pytest.approx(float(estimates.share_interval(0, 20).high) * 0.2 / 2, rel=1e-12)
    assert found.low[0] == pytest.approx((1 - float(estimates.share_interval(0, 20).high) * 0.2) / 2, rel=1e-12)


@pytest.mark.parametrize("count", [4, 16, 64])
def test_share_interval_covers_as_often_as_it_says(count):
    """Exact, by the binomial law, over a fine grid of shares."""
    found = estimates.share_interval(np.arange(count + 1), count)
    share = (np.arange(4000)[:, None] + 0.5) / 4000
    inside = (found.low <= share) & (share <= found.high)
    held = np.sum(stats.binom.pmf(np.arange(count + 1), count, share) * inside, axis=1)
    assert 0.951 < held.mean() < 0.956
    assert held.min() > 0.83
    assert held[np.abs(share[:, 0] - 0.5) < 0.5 - 0.3 / count].min() > 0.87


@pytest.mark.parametrize("count", [4, 8, 16, 64])
@pytest.mark.parametrize(("law", "share"), [("independent", 0.01), ("independent", 0.5), ("beta", 0.3), ("beta", 0.5)])
def test_mean_share_interval_covers_as_often_as_it_says(law, share, count):
    """50 units for each network, independent or with another probability in each network."""
    rng, size = np.random.default_rng(count), (2000, count)
    p = np.full(size, share) if law == "independent" else rng.beta(2 * share, 2 * (1 - share), size=size)
    found = estimates.mean_share_interval(rng.binomial(50, p).T / 50, of=50, axis=0)
    assert_covers(found, share, 0.94, 1.0)


def test_mean_share_interval_at_the_ends_and_without_networks():
    """Wilson's interval of 0 out of 5 networks, times the 2 of 20 units that a network may have; mirrored at 1."""
    shares = np.array([[0.0] * 5, [1.0] * 5, [np.nan] * 5, [0.0, 0.0, np.nan, 0.0, 0.0]])
    found = estimates.mean_share_interval(shares, of=20)
    reach = [estimates.share_interval(0, n).high.item() * 0.1 for n in (5, 4)]
    np.testing.assert_allclose(found.low, [0, 1 - reach[0], np.nan, 0], rtol=1e-12)
    np.testing.assert_allclose(found.high, [reach[0], 1, np.nan, reach[1]], rtol=1e-12)
    assert found.count.tolist() == [5, 5, 0, 4]
    with pytest.raises(ValueError, match="`shares` must be from 0 to 1"):
        estimates.mean_share_interval(np.array([0.5, 1.1]), of=20)


def test_share_interval_is_wilsons():
    """The ends solve |share - p| = z sqrt(p (1 - p) / n) (Wilson 1927)."""
    found = estimates.share_interval(np.array([0, 3, 20]), 20)
    for end in (found.low, found.high):
        inside = (end > 0) & (end < 1)
        gap, error = np.abs(found.estimate - end), 1.959963984540054 * np.sqrt(end * (1 - end) / 20)
        np.testing.assert_allclose(gap[inside], error[inside], rtol=1e-12)
    assert (found.low[0], found.high[-1]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="`successes` must be whole numbers from 0 to `count`"):
        estimates.share_interval(3, 2)
