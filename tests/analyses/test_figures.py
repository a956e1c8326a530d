"""Each analysis as its user runs it, at the smallest sizes."""

import re
import subprocess
import sys

import numpy as np
import pytest
import xarray
from matplotlib import image

from analyses.shared import command, layouts, symbols
from jaxsat.results import drawing

TINY = {
    "activations_saturate": ["--activations", "sigmoid", "relu", "--points", "41"],
    "gradients_vanish_with_depth": [
        "--activations", "tanh", "relu", "--scales", "0.5", "1.0", "2.0", "3.0", "--large-scales", "4.0", "--seeds", "6",
        "--depth", "12", "--width", "16", "--images", "2", "--plain-seeds", "2",
    ],
    "jacobian_spectra_with_depth": [
        "--activations", "tanh", "relu", "--factors", "1.0", "2.0", "--seeds", "4", "--depth", "8", "--width", "8",
        "--truth-width", "4", "--truth-depth", "20",
    ],
    "gradients_vanish_in_time": [
        "--cells", "tanh", "minimal", "--dtypes", "float16", "--scales", "1.0", "--gate-biases", "0.0", "2.0", "--lags", "40",
        "--before", "5", "--width", "8", "--seeds", "3", "--spectrum-cells", "tanh", "--spectrum-width", "4", "--spectrum-seeds", "2", "--plain-seeds", "2",
    ],
    "memory_of_cells": [
        "--cells", "tanh", "minimal", "--scales", "1.0", "--gate-biases", "0.0", "--lags", "2", "4", "--width", "8",
        "--seeds", "2", "--examples", "64", "--epochs", "2",
    ],
    "lyapunov_exponents": ["--activations", "identity", "relu", "--scales", "1.0", "2.0", "--seeds", "4", "--depth", "30", "--width", "6"],
    "phase_diagram": [
        "--activations", "tanh", "--points", "5", "--weight-count", "3", "--bias-count", "2", "--seeds", "4", "--depth", "8",
        "--width", "16",
    ],
    "spectra_against_free_probability": ["--activations", "tanh", "--depths", "2", "--seeds", "3", "--width", "12"],
    "finite_width_fluctuations": [
        "--activations", "relu", "tanh", "--widths", "4", "8", "--depth", "12", "--shown", "0.25", "1.0", "--seeds", "50",
    ],
    "born_dead": [
        "--activations", "tanh", "--scales", "1.0", "4.0", "--widths", "2", "3", "--depth", "6", "--seeds", "100",
        "--saturation-seeds", "4", "--saturation-width", "16",
    ],
    "dying_relu": [
        "--leaks", "0.1", "--rates", "0.1", "1e4", "--bias-scales", "0.0", "2.0", "--seeds", "2", "--epochs", "1",
        "--depth", "2", "--width", "8",
    ],
    "saturation_during_training": [
        "--activations", "tanh", "--depths", "1", "2", "--shown", "1", "2", "--depth", "2", "--sigmoid-epochs", "1",
        "--epochs", "1", "--seeds", "2", "--start-seeds", "2", "--width", "8",
    ],
    "correlations_converge": ["--activations", "tanh", "--scales", "1.3", "--seeds", "4", "--depth", "4", "--width", "16"],
    "trainability": ["--depths", "2", "4", "--scales", "0.5", "1.3", "--seeds", "2", "--width", "8", "--epochs", "1"],
    "remedies": [
        "--activations", "relu", "--optimizers", "adam", "--rates", "0.1", "--choosing", "1", "--seeds", "2", "--depth", "4",
        "--width", "12", "--epochs", "1",
    ],
    "claims": [
        "--activations", "sigmoid", "--learning-rates", "0.5", "--epochs", "2", "--looks", "2", "--examples", "100", "--depth", "3",
        "--width", "12", "--seeds", "3", "--drawn-depth", "4", "--drawn-seeds", "4",
    ],
}  # fmt: skip


# Compiling them takes half a minute each; `make gallery-quick`, too, runs them.
SLOW = {
    "spectra_against_free_probability", "jacobian_spectra_with_depth", "finite_width_fluctuations",
    "born_dead", "gradients_vanish_with_depth", "correlations_converge", "phase_diagram", "lyapunov_exponents", "dying_relu",
    "saturation_during_training", "trainability", "remedies", "claims", "gradients_vanish_in_time", "memory_of_cells",
}  # fmt: skip


def analysis(name, *arguments):
    words = [sys.executable, "-W", "error", "-m", f"analyses.{name}", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True)


def call(monkeypatch, name, *arguments):
    """The same without a process of its own."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    command.run_named(name)


def in_process(monkeypatch, name, *arguments):
    """The exit code of such a call."""
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, name, *arguments)
    return stopped.value.code


# The figures, with the number of panels that bear a letter; and main variables with their dimensions, at these sizes.
SHOWN = {
    "activations_saturate": ({"": 0, "autodiff": 2, "curves_1": 2}, {"value": "activation x", "zero": "activation dtype side", "log_slope_far": "source saturating x_far"}),
    "gradients_vanish_with_depth": (
        {"": 2, "growth": 0, "saturation": 2, "exact_zeros": 3},
        {
            "log_gradient_norms": "activation weight_scale seed layer", "theory": "activation weight_scale layer",
            "plain_gradient_is_zero": "activation plain_seed dtype layer", "theory_growth": "activation fine_weight_scale",
        },
    ),
    "jacobian_spectra_with_depth": (
        {"": 2, "orthogonal": 2, "spread": 0, "accuracy": 0},
        {
            "log_singular_values": "factor seed activation ensemble depth index",
            "log_singular_values_by_method": "way truth_depth truth_index",
        },
    ),
    "gradients_vanish_in_time": (
        {"": 2, "spectra": 0, "exact_zeros": 0},
        {
            "log_gradient_norms": "cell weight_scale gate_bias seed steps_back", "theory_growth": "cell weight_scale gate_bias",
            "log_singular_values": "spectrum_cell spectrum_seed spectrum_lag quantile",
            "plain_gradient_is_zero": "cell plain_seed dtype plain_lag",
        },
    ),
    "memory_of_cells": (
        {"": 3},
        {"accuracy": "lag cell weight_scale gate_bias seed", "chi": "cell weight_scale gate_bias", "growth": "cell weight_scale gate_bias"},
    ),
    "lyapunov_exponents": ({"": 2}, {"exponents": "weight_scale seed activation index", "law": "weight_scale index"}),
    "phase_diagram": (
        {"": 1, "depth_scales": 1, "growth": 2},
        {
            "growth": "activation bias_scale weight_scale seed", "expected_growth": "activation bias_scale weight_scale",
            "chi": "activation fine_bias_scale fine_weight_scale", "edge": "activation fine_bias_scale",
        },
    ),
    "spectra_against_free_probability": (
        {"": 1, "orthogonal": 1, "discrepancies": 2},
        {
            "log_singular_values": "depth seed activation ensemble index", "density": "depth activation ensemble point",
            "edges": "depth activation ensemble edge",
        },
    ),
    "finite_width_fluctuations": ({"": 3, "densities": 2}, {"log_gradient_norms": "activation width seed layer", "theory_std": "activation width layer"}),
    "born_dead": (
        {"": 3, "saturated_units": 0},
        {
            "dead_for_all": "width seed layer", "probability_one": "width layer",
            "saturated": "activation weight_scale saturation_seed", "saturated_theory_weight_scale": "activation weight_scale",
        },
    ),
    "dying_relu": ({"": 4, "layers": 2, "leaks": 2}, {"off_units": "activation bias_scale learning_rate seed step layer unit", "clipped_diverged_at": "learning_rate seed"}),
    "saturation_during_training": (
        {"": 4, "in_time": 2, "at_the_end": 2, "at_the_start": 6, "weight_gradients": 2},
        {
            "sigmoid_activation_mean": "depth initialisation seed sigmoid_step sigmoid_layer",
            "weight_density": "initialisation start_seed layer bin", "theory_signal": "initialisation layer",
        },
    ),
    "correlations_converge": (
        {"": 6},
        {
            "correlation": "activation weight_scale seed input_correlation layer",
            "theory_q_l": "activation input_length weight_scale layer", "theory_correlation_map": "activation weight_scale c_grid",
        },
    ),
    "trainability": ({"": 3}, {"accuracy": "activation ensemble depth weight_scale seed step", "xi_c_weight_scale": "activation weight_scale"}),
    "remedies": ({"": 3}, {"log_gradient_ratio": "case rate seed step", "log_condition": "case seed"}),
    "claims": ({"": 0, "effects_1": 0, "effects_2": 0, "effects_3": 0}, {"estimate": "row", "effect_of_seed": "row network", "accuracy": "activation scale learning_rate seed step"}),
}  # fmt: skip


def check_figure(figure, panels):
    """A figure can be read in a column of a paper: nothing is cut off, no letter is too small, nothing is left empty."""
    axes = [ax for ax in figure.axes if ax.axison]
    letters = [text for ax in axes if len(text := ax.get_title(loc="left")) == 1]
    assert sorted(letters) == [chr(ord("a") + i) for i in range(panels)]
    assert panels <= layouts.MOST_PANELS
    assert all(ax.has_data() or ax.images or ax.collections for ax in axes)
    # 6 points; letters above and below a line of a formula are smaller
    assert min(text.get_fontsize() for text in symbols.texts(figure)) >= 6
    width, height = figure.get_size_inches()
    assert width == drawing.COLUMN
    seen = figure.get_tightbbox()
    assert seen.x0 > -0.01
    assert seen.y0 > -0.01
    assert seen.x1 < width + 0.01
    assert seen.y1 < height + 0.01
    title, footnote = (text.get_text() for text in figure.texts)
    assert title.endswith(".")
    assert footnote.count("\n") < layouts.FOOTNOTE_LINES
    assert "nan" not in title


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in TINY])
def test_writes_figures_captions_and_dataset_and_says_where(name, tmp_path, monkeypatch, capsys):
    arguments = [name, *TINY[name], "--output", tmp_path, "--formats", "png", "pdf", "--width", "column"]
    if name in SLOW:
        done = analysis(*arguments)
        assert done.returncode == 0, done.stderr
        said = done.stdout
    else:  # a process of its own takes seconds
        call(monkeypatch, *arguments)
        said = capsys.readouterr().out
    shown, variables = SHOWN[name]
    names = {part: f"{name}_{part}" if part else name for part in shown}
    for path in [
        tmp_path / f"{name}.zarr",
        *(tmp_path / f"{n}.{e}" for n in names.values() for e in ("png", "pdf", "md")),
    ]:
        assert path.exists()
        assert str(path) in said.splitlines()
    before = {part: image.imread(tmp_path / f"{n}.png") for part, n in names.items()}
    dataset = xarray.open_zarr(tmp_path / f"{name}.zarr")
    assert dataset.attrs["analysis"] == name
    assert {"created", "device", "options"} <= dataset.attrs.keys()
    assert {variable: " ".join(map(str, dataset[variable].dims)) for variable in variables} == variables
    assert all(np.isfinite(dataset[v]).any() for v in dataset.data_vars)
    # Drawn again, from the dataset alone: the same figures, with the panels that they should have.
    figures = {}
    save = command._save
    monkeypatch.setattr(command, "_save", lambda o, n, figure: (figures.__setitem__(n, figure), save(o, n, figure)))
    call(monkeypatch, name, "--draw-only", "--output", tmp_path, "--formats", "png", "--width", "column")
    assert list(figures) == list(names.values())
    for part, panels in shown.items():
        check_figure(figures[names[part]], panels)
        text = (tmp_path / f"{names[part]}.md").read_text()
        assert text.startswith(f"# {figures[names[part]].texts[0].get_text().splitlines()[0]}".replace("\xa0", " "))
        for heading in ("Caption", "How it was made", "What theory says", "Where it differs from the paper"):
            assert f"\n## {heading}\n" in text
        # Sums in NumPy may end in another last bit in another process. Edges of letters and lines then have other shades, of
        # 255, in a few pixels of millions.
        again = image.imread(tmp_path / f"{names[part]}.png")
        assert again.shape == before[part].shape
        assert np.mean(np.abs(again - before[part]) > 4 / 255) < 1e-4


@pytest.mark.slow
def test_results_may_be_written_over_by_the_same_analysis(tmp_path, monkeypatch):
    name = "activations_saturate"
    for _ in range(2):
        call(monkeypatch, name, *TINY[name], "--output", tmp_path, "--formats", "png")


@pytest.mark.slow
def test_an_analysis_goes_on_from_its_store(tmp_path):
    """What is missing from the store is computed again, and nothing else."""
    name, store = "born_dead", tmp_path / "store"
    arguments = [name, *TINY[name], "--output", tmp_path, "--formats", "png", "--store", store]
    assert analysis(*arguments).returncode == 0
    first = xarray.open_zarr(tmp_path / f"{name}.zarr").load()
    parts = sorted(path.name for path in store.iterdir())
    assert parts == ["born_dead-dead.zarr", "born_dead-saturated.zarr"]
    (mark, *_) = store.glob("born_dead-dead.zarr/chunk_counts/c/*/*/*")
    mark.unlink()
    assert not list((store / "born_dead-dead.zarr" / ".jaxsat" / "leases").iterdir())
    refused = analysis(*arguments)
    assert refused.returncode == 2
    assert "--store: must be a new or an empty folder" in refused.stderr
    done = analysis(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert mark.exists()
    xarray.testing.assert_equal(xarray.open_zarr(tmp_path / f"{name}.zarr").load(), first)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activations", "sigmiod"], "Did you mean 'sigmoid'"),
        (["--output", "/proc/nowhere"], "output: must be in a folder that can be written"),
        (["--seed-count", "3"], "--seed-count"),
        (["--resume"], "--resume: must come with --store"),
        (["--draw-only"], "--draw-only: must find a dataset of this analysis; got no"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(name, arguments, message, tmp_path, monkeypatch, capsys):
    if "--activations" in arguments and "--cells" in TINY[name]:  # these take cells instead
        arguments, message = ["--cells", "lstn"], "lstn"
    assert in_process(monkeypatch, name, "--output", tmp_path, *arguments) == 2
    seen = capsys.readouterr()
    assert message in seen.err + seen.out
    assert not list(tmp_path.iterdir())


def test_a_mistake_has_no_traceback():
    done = analysis("activations_saturate", "--activations", "sigmiod")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_dataset_of_somebody_else_is_not_written_over(tmp_path, monkeypatch, capsys):
    (tmp_path / "activations_saturate.zarr").mkdir()
    name = "activations_saturate"
    assert in_process(monkeypatch, name, *TINY[name], "--output", tmp_path) == 2
    assert "was not written by this analysis" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "0"], "--images: must be an integer of at least 1; got 0"),
        (["--zero-scale", "7"], "--zero-scale: must be among --scales"),
        (["--depth", "2"], "--depth: must be an integer of at least 3; got 2"),
        (["--scales", "1.0", "-2.0", "2.0"], "--scales: must be a finite number and above 0; got -2"),
        (["--width", "0"], "--width: must be an integer of at least 1; got 0"),
    ],
)
def test_bad_sizes(arguments, message, tmp_path, monkeypatch, capsys):
    assert in_process(monkeypatch, "gradients_vanish_with_depth", "--output", tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("dying_relu", ["--shown-rate", "0.3"], "--shown-rate: must be among --rates"),
        (
            "dying_relu",
            ["--seeds", "1"],
            "--seeds: must be an integer of at least 2; got 1. An interval needs two networks",
        ),
        ("dying_relu", ["--activations"], "--activations: must name at least one activation; got none"),
        ("dying_relu", ["--clip", "0"], "--clip: must be a finite number and above 0; got 0"),
        ("dying_relu", ["--rates", "-1"], "--rates: must be a finite number and above 0; got -1"),
        ("saturation_during_training", ["--rate", "-1"], "--rate: must be a finite number and above 0; got -1"),
        ("saturation_during_training", ["--epochs", "0"], "--epochs: must be an integer of at least 1; got 0"),
        ("trainability", ["--learning-rate", "-1"], "--learning-rate: must be a finite number and above 0; got -1"),
        ("remedies", ["--residual-scale", "-1"], "--residual-scale: must be a finite number and above 0; got -1"),
        ("claims", ["--learning-rates"], "--learning-rates: must have at least one number; got none"),
        ("saturation_during_training", ["--activations"], "--activations: must name at least one activation; got none"),
        (
            "saturation_during_training",
            ["--activations", "relu"],
            "--activations: must be bounded on both sides; got 'relu'",
        ),
        ("saturation_during_training", ["--shown", "4", "6"], "--shown: must be two of --depths"),
        (
            "saturation_during_training",
            ["--start-seeds", "1"],
            "--start-seeds: must be an integer of at least 2; got 1",
        ),
    ],
)
def test_bad_choices(name, arguments, message, tmp_path, monkeypatch, capsys):
    assert in_process(monkeypatch, name, "--output", tmp_path, *arguments) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("name", TINY)
def test_help_names_every_option(name, monkeypatch, capsys):
    assert in_process(monkeypatch, name, "--help") == 0
    seen = capsys.readouterr().out
    varied = "--cells" if "--cells" in TINY[name] else "--activations"
    for option in ("--quick", "--output", "--formats", varied):
        assert option in seen
