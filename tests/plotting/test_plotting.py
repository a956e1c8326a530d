"""Figures in one line: what is drawn, against closed forms, on datasets made by hand."""

import inspect
import json

import numpy as np
import pytest
import xarray
from matplotlib import pyplot as plt
from scipy import special

from jaxsat import plotting
from jaxsat.plotting import network_settings, of_spectra
from jaxsat.results import drawing

DEPTH, WIDTH = 6, 16
LONG = "ln of a quantity with a name that is far too long for the height of an axis"
NETWORK = {
    "depth": DEPTH, "width": WIDTH, "activation": "identity", "weight_scale": 1.0, "bias_scale": 0.0,
    "ensemble": "orthogonal", "inputs": "none", "outputs": "none", "residual_scale": "none", "normalization": "none", "fan": "in",
}  # fmt: skip


def dataset(name, values, last, labels=None, **changes):
    """As a sweep over two weight scales returns it: values (weight_scale, seed, last)."""
    request = {"network": NETWORK | changes, "x": "gaussian, unit mean square"}
    array = xarray.DataArray(values, dims=("weight_scale", "seed", last), attrs={"long_name": LONG, "units": "1"})
    places = np.arange(1, values.shape[-1] + 1) if labels is None else labels
    coords = {"weight_scale": [0.5, 2.0], last: places}
    return xarray.Dataset({name: array}, coords, {"request": json.dumps(request)})


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def norms():
    """Three networks at either scale; the middle one has the norms of a linear orthogonal network, 2^-(L-l) and 2^(L-l)."""
    exact = np.outer(np.log([0.5, 2.0]), np.arange(DEPTH - 1, -1, -1))
    return exact, exact[:, None, :] + np.array([-1.0, 0.0, 3.0])[:, None]


def test_gradient_norms_are_medians_and_theory_is_the_closed_form():
    exact, values = norms()
    ax = plotting.gradient_norms(dataset("log_gradient_norms", values, "layer"), theory=True)
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines if len(line.get_xdata())]
    np.testing.assert_allclose(drawn, [*exact, *exact], atol=1e-12)  # medians, then theory
    assert (
        ax.get_title(loc="left").replace("\n", " ")
        == "Gradients vanish or explode: 5 steps back multiply them by 0.031 to 32"
    )
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["weight scale 0.5", "weight scale 2", "theory: root mean square"]


def test_an_axis_that_is_given_is_drawn_on_and_nothing_is_cut_off():
    figure, axes = plt.subplots(1, 2, layout="constrained")
    data = dataset("log_gradient_norms", norms()[1], "layer")
    assert plotting.gradient_norms(data, ax=axes[1]) is axes[1]
    assert not axes[0].lines
    new = plotting.gradient_norms(data)
    assert new.figure is not figure
    new.figure.draw_without_rendering()
    width, height = new.figure.get_size_inches()
    seen = new.figure.get_tightbbox()
    assert min(seen.x0, seen.y0) > -0.02
    assert seen.x1 < width + 0.02
    assert seen.y1 < height + 0.02


def below(s):
    """The share of the singular values of a square gaussian matrix below s, in the limit: density sqrt(4 - s^2) / pi."""
    return (s * np.sqrt(4 - s * s) / 2 + 2 * np.arcsin(s / 2)) / np.pi


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_spectra_by_rank_obey_the_quarter_circle(whole):
    """A rank is 1 / 16; trapezes at the edge, where the density falls like a square root, and the end of the grid below
    cost 0.01."""
    wanted = 1 - (np.arange(WIDTH) + 0.5) / WIDTH
    if not whole:
        grid = np.log(2) - 8 * np.linspace(1, 0, 400) ** 2
        density = np.exp(grid) * np.sqrt(np.maximum(4 - np.exp(2 * grid), 0)) / np.pi
        whole_law = of_spectra.Law(grid, density, zeros=0.0, top=0.0)
        np.testing.assert_allclose(below(np.exp(of_spectra.by_rank(whole_law, WIDTH))), wanted, atol=0.01)
        half = of_spectra.by_rank(whole_law._replace(zeros=0.5), WIDTH)  # half of the singular values are 0
        assert np.isnan(half[WIDTH // 2 :]).all()
        np.testing.assert_allclose(below(np.exp(half[: WIDTH // 2])), 2 * wanted[: WIDTH // 2] - 1, atol=0.01)
        return
    values = np.zeros((2, 3, WIDTH)) - np.linspace(0, 6, WIDTH)
    data = dataset("log_singular_values", values, "index", depth=1, ensemble="gaussian")
    ax = plotting.spectrum(data, theory=True)
    for scale, line in zip((0.5, 2.0), [line for line in ax.lines if len(line.get_xdata())][2:], strict=True):
        s = np.exp(np.asarray(line.get_ydata(), float)) / scale
        np.testing.assert_allclose(below(s), wanted, atol=0.01)


def test_a_histogram_counts_every_value_once():
    values = np.random.default_rng(0).normal(size=(2, 4, WIDTH))
    ax = plotting.spectrum(dataset("log_singular_values", values, "index"), by="histogram")
    for line in ax.lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        assert np.sum(y) * (x[1] - x[0]) == pytest.approx(1.0)


def test_lengths_of_linear_networks_grow_as_powers():
    values = np.ones((2, 2, DEPTH))
    data = dataset("mean_squared_pre_activation", values, "layer")
    ax = plotting.pre_activations(data, theory=True, mean_square=3.0)
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines if len(line.get_xdata())][2:]
    np.testing.assert_allclose(drawn, [3 * s ** (2.0 * np.arange(1, DEPTH + 1)) for s in (0.5, 2.0)], rtol=1e-9)


def test_what_is_no_dataset_or_no_axis_is_said():
    data = dataset("log_gradient_norms", np.zeros((2, 2, DEPTH)), "layer")
    with pytest.raises(TypeError, match=r"`ds` must be a dataset of jaxsat\.sweep or jaxsat\.train; got DataArray"):
        plotting.gradient_norms(data.log_gradient_norms)
    with pytest.raises(TypeError, match="`ax` must be an axis of matplotlib, or None for a new figure; got int"):
        inspect.unwrap(drawing.axis_or_new)(3)  # unwrapped: under the import hook the type checker speaks first


def test_theory_of_another_quantity_is_refused():
    weights = dataset("log_weight_gradient_norms", np.zeros((2, 2, DEPTH)), "layer")
    plotting.gradient_norms(weights)
    with pytest.raises(ValueError, match="`ds` must have log_gradient_norms; got log_weight_gradient_norms"):
        plotting.gradient_norms(weights, theory=True)
    narrow = dataset("log_singular_values", np.zeros((2, 2, 3)), "index", inputs=3)
    plotting.spectrum(narrow)
    with pytest.raises(ValueError, match="`theory` must be False but for square Jacobians; got 3 inputs of"):
        plotting.spectrum(narrow, theory=True)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (plotting.unit_shares, "saturated_fraction"),
        (plotting.input_correlations, "correlation"),
        (plotting.percentile_lines, "activation_percentiles"),
        (plotting.histogram, "activation_histogram"),
        (lambda ds: plotting.measure(ds, "activation_entropy"), "activation_entropy"),
    ],
)
def test_every_measure_has_lines_and_a_finding(function, name):
    values = np.linspace(0, 1, 2 * 3 * DEPTH).reshape(2, 3, DEPTH)
    ax = function(dataset(name, values, "layer"))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), np.median(values[1], axis=0))
    told = f"{values[0, 1, -1]:.3g} to {values[1, 1, -1]:.3g}"
    assert ax.get_title(loc="left").replace("\n", " ") == f"L{LONG[1:]}: {told} at the end"


def test_bands_are_quantiles_over_networks_and_percentiles_have_a_line_each():
    values = np.random.default_rng(0).normal(size=(2, 21, DEPTH, 2))
    dims = ("weight_scale", "seed", "layer", "percentile")
    coords = {"weight_scale": [0.5, 2.0], "layer": np.arange(1, DEPTH + 1), "percentile": [2.0, 98.0]}
    ax = plotting.percentile_lines(xarray.Dataset({"activation_percentiles": (dims, values)}, coords))
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_xdata())]
    np.testing.assert_allclose(drawn, np.median(values, axis=1).swapaxes(1, 2).reshape(4, DEPTH))
    for band, of in zip(ax.collections, values.swapaxes(1, 3).reshape(4, DEPTH, 21), strict=True):
        corners = band.get_paths()[0].vertices[:, 1]
        ordered = np.sort(of, axis=-1)  # 5 and 95 % of 21 networks: the second and the last but one
        assert {round(x, 9) for x in ordered[:, [1, 19]].ravel()} <= {round(x, 9) for x in corners}


def test_theory_of_gaussian_weights_is_the_mean_of_the_logarithm():
    """A linear layer multiplies by chi_n / sqrt(n); the mean of ln is (digamma(n/2) - ln(n/2)) / 2, of which theory has 1/n."""
    data = dataset("log_gradient_norms", norms()[1], "layer", ensemble="gaussian")
    ax = plotting.gradient_norms(data, theory=True)
    lost = (special.digamma(WIDTH / 2) - np.log(WIDTH / 2)) / 2
    exact = np.arange(DEPTH - 1, -1, -1) * (np.log([[0.5], [2.0]]) + lost)
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines if len(line.get_xdata())][2:]
    np.testing.assert_allclose(drawn, exact, atol=DEPTH / (3 * WIDTH**2))  # the next term is 1 / (6 n^2) for a layer
    assert "theory: mean of ln" in [text.get_text() for text in ax.get_legend().get_texts()]


def twice(h):
    return 2 * h


def test_theory_of_an_activation_of_ones_own_needs_the_function():
    exact, values = norms()
    data = dataset("log_gradient_norms", values, "layer", activation="twice")
    ax = plotting.gradient_norms(data, theory=True, activations=[twice])
    doubled = exact + np.log(2) * np.arange(DEPTH, 0, -1)  # the slope of layer l counts, too
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines if len(line.get_xdata())][2:]
    np.testing.assert_allclose(drawn, doubled, atol=1e-9)
    with pytest.raises(
        ValueError, match=r"`activations` must have 'twice', which .* got none\. Pass activations=\[twice\]"
    ):
        plotting.gradient_norms(data, theory=True)


@pytest.mark.parametrize("given", ["tanh", [3], twice])
def test_activations_are_a_list_of_functions(given):
    data = dataset("log_gradient_norms", norms()[1], "layer")
    with pytest.raises(TypeError, match="`activations` must be a list of functions"):
        inspect.unwrap(network_settings.setting_of)("plotting.gradient_norms", data, {}, None, given)


def test_theory_of_a_part_is_that_of_the_selected_network():
    exact, values = norms()
    data = dataset("log_gradient_norms", values, "layer", weight_scale="swept")
    request = json.loads(data.attrs["request"]) | {"over": {"weight_scale": [0.5, 2.0]}}
    del request["network"]["weight_scale"]
    data.attrs["request"] = json.dumps(request)
    ax = plotting.gradient_norms(data.sel(weight_scale=2.0), theory=True)
    np.testing.assert_allclose(np.asarray(ax.lines[1].get_ydata(), float), exact[1], atol=1e-12)
    with pytest.raises(ValueError, match="must keep the coordinates that were swept; got no weight_scale"):
        plotting.gradient_norms(data.isel(weight_scale=0, drop=True), theory=True)


def test_training_is_drawn_against_steps():
    values = np.arange(2.0 * 2 * 4).reshape(2, 2, 4)
    ax = plotting.training_curves(dataset("loss", values, "step", [0, 10, 20, 30]))
    assert ax.lines[0].get_xdata().tolist() == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: plotting.spectrum(d), "plotting.spectrum: `ds` must have log_singular_values or singular_values; got log_gradient_norms"),
        (lambda d: plotting.unit_shares(d, kind="satured"), "Did you mean 'saturated'"),
        (lambda d: plotting.measure(d, "nothing"), "plotting.measure: `ds` must have nothing"),
        (lambda d: plotting.training_curves(d, "log_gradient_norms"), "must have steps of training"),
        (lambda d: plotting.gradient_norms(d.drop_attrs(), theory=True), "must know its network"),
        (
            lambda d: plotting.gradient_norms(dataset("log_gradient_norms", norms()[1], "layer", normalization="layer"), theory=True),
            "must be False but for a plain MLP; got normalization=layer",
        ),
    ],
)  # fmt: skip
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call(dataset("log_gradient_norms", norms()[1], "layer"))


def test_the_style_does_not_stay():
    before = dict(plt.rcParams)
    plotting.gradient_norms(dataset("log_gradient_norms", norms()[1], "layer"))
    assert {key for key in before if plt.rcParams[key] != before[key]} == set()
    assert drawing.STYLE["font.size"] != before["font.size"]
