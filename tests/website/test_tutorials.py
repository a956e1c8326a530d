"""The tutorials run, and what their text says is so."""

import pathlib

import jax
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from website.run_tutorial import cells_of, run

TUTORIALS = pathlib.Path(__file__).parent.parent.parent / "docs" / "tutorials"


def test_cells_keep_what_they_print_return_and_draw(tmp_path):
    script = tmp_path / "small.py"
    script.write_text(
        "# %% [markdown]\n# # Title\n#\n# Text\n\n# %%\nimport matplotlib.pyplot as plt\n\nprint('a')\n3 * 2\n\n# %%\nax = plt.figure()\nplt.plot([1])\n"
    )
    assert cells_of(script.read_text())[0] == ("text", "# Title\n\nText")
    (_, first, second), names = run(script)
    assert first["printed"] == "a\n6\n"
    assert (first["figures"], second["printed"]) == ([], "")
    assert len(second["figures"]) == 1
    assert second["figures"][0].startswith("iVBORw0KGgo")  # a PNG
    assert names["plt"] is plt
    assert plt.get_fignums() == []


def test_an_error_in_a_cell_names_the_line_of_the_script(tmp_path):
    script = tmp_path / "small.py"
    script.write_text("# %% [markdown]\n# Text\n\n# %%\nx = 1\n\n1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run(script)
    assert caught.traceback[-1].lineno + 1 == 7


def ran(name):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.enable_x64(False):
        return run(TUTORIALS / f"{name}.py")[1]


@pytest.mark.slow
def test_a_network_of_many_sigmoid_layers_reads_zero():
    names = ran("sixty_layers_read_zero")
    assert names["plain"][0] == 0
    assert np.isfinite(names["norms"]).all()
    assert 59 <= names["DEPTH"] - names["first_alive"] + 1 <= 64  # "60 layers"
    assert np.abs(np.asarray(names["norms"] - names["theory"])).max() < 5
    assert names["norms"][0] < np.log(np.finfo(np.float32).tiny) - 5
    assert abs(names["critical"] - 10.149) < 0.01
    saturated = names["saturated"]
    assert 0.4 < saturated.loc["sigmoid"].iloc[-1] < 0.6  # "about half"
    assert saturated.loc["tanh"].iloc[0] < 0.01


@pytest.mark.slow
def test_spectra_of_a_trained_network():
    names = ran("spectra_of_your_network")
    assert names["accuracy"] > 0.9
    assert max(names["errors_before"].max(), names["errors_after"].max()) < 1e-2
    logs, dense = np.asarray(names["logs_after"]), names["dense"]
    trusted = logs > logs[0] - 10  # float32 knows 16 nats below the largest; its noise adds up over 20 layers
    np.testing.assert_allclose(dense[trusted], logs[trusted], atol=0.05)
    assert (dense[-5:] > logs[-5:] + 10).all()  # "a floor"
    assert abs(names["measured_mean"] - float(names["moments"].log_mean)) < 3  # one network, of finite width


@pytest.mark.slow
def test_a_report_leads_to_a_cure():
    names = ran("report_to_cure")
    assert abs(float(names["before"][-1]) - 2.303) < 0.02
    assert float(names["norms"][-1][0][0] - names["norms"][0][0][0]) > 8
    (finding,) = names["report"].findings
    assert finding.code == "vanishing"
    assert "weights are 0.1x the critical scale 10.1" in finding.message
    assert "With skip connections, x + sigmoid(h), theory gives 1.0" in finding.advice
    assert "Layer normalisation would not help: 0.39x a layer" in finding.advice
    assert names["healthy"].findings == ()
    norms = [site.log_gradient_norm for site in names["healthy"].sites]
    assert max(norms) - min(norms) < 2.3  # within a factor of ten
    assert float(names["after"][-1]) < 0.2
    assert matplotlib.get_backend().lower() == "agg"
