"""The commands `jaxsat export` and `jaxsat figures`."""

import csv
import dataclasses
import importlib
import sys

import numpy as np
import pytest

import jaxsat
from analyses.shared import command
from jaxsat import __main__


def test_a_store_is_exported(tmp_path, capsys):
    store = tmp_path / "s.zarr"
    net = jaxsat.MLP(depth=3, width=4)
    ds = jaxsat.sweep(net, "log_gradient_norms", {"weight_scale": [1.0, 2.0]}, seeds=2, store=store, progress=False)
    __main__.main(["export", str(store), "--to", "csv"])
    assert capsys.readouterr().out == f"{tmp_path / 's.csv'}\n"
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["weight_scale", "seed", "layer", "log_gradient_norms"]
    found = np.array([float(row["log_gradient_norms"]) for row in rows], ds.log_gradient_norms.dtype)
    np.testing.assert_array_equal(found, ds.log_gradient_norms.values.ravel())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "nowhere.zarr"], "nowhere.zarr"),
        (["export", "nowhere.zarr", "--to", "cvs"], "Did you mean 'csv'"),
        (["figures", "phase_diagramm"], "Did you mean 'phase_diagram'"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(arguments)
    assert stopped.value.code == 2
    seen = capsys.readouterr().err
    assert message in seen
    assert seen.count("\n") == 1


def test_figures_lists_analyses_and_runs_one(capsys, monkeypatch):
    __main__.main(["figures"])
    names = capsys.readouterr().out.split()
    assert {"claims", "phase_diagram", "gradients_vanish_with_depth"} <= set(names)
    assert "shared" not in names
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as stopped:
        __main__.main(["figures", "phase_diagram", "--help"])
    assert stopped.value.code == 0
    assert "--quick" in capsys.readouterr().out


def test_a_small_figure_is_told_as_the_command_that_makes_it(monkeypatch):
    question, given = importlib.import_module("analyses.phase_diagram"), []
    monkeypatch.setattr(question, "main", given.append)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    __main__.main(["figures", "phase_diagram", "--quick"])
    options = dataclasses.replace(given[0], **question.QUICK)
    assert command.typed(options, "phase_diagram") == "python -m analyses.phase_diagram --quick"
