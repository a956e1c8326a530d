"""The code of docs/probe_walkthrough.md runs, and what its text says is so."""

import pathlib
import re

import jax
import pytest

PAGE = pathlib.Path(__file__).parent.parent.parent / "docs" / "probe_walkthrough.md"


@pytest.mark.slow
def test_the_walk_through_runs_and_says_what_is_so():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 4
    names: dict = {"__name__": "walkthrough"}
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
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
