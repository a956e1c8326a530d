"""The PyTorch part of docs/from_pytorch_hooks.md runs where PyTorch is, and hooks see what jaxsat computes."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat

PAGE = pathlib.Path(__file__).parent.parent.parent / "docs" / "from_pytorch_hooks.md"


def test_hooks_keep_what_jaxsat_computes(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed: this part of the page was not run")
    monkeypatch.chdir(tmp_path)
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if ">>>" not in block]
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)
    state = np.load(tmp_path / "weights.npz")
    net = jaxsat.MLP(depth=3, width=16, activation="tanh", inputs=8, outputs=4)
    params = net.params([(state[f"{2 * i}.weight"], state[f"{2 * i}.bias"]) for i in range(4)], layout="w @ x")
    x = jnp.linspace(-1, 1, 8, dtype=jnp.float32)
    cotangent = jax.grad(lambda y: -jax.nn.log_softmax(y)[2])(net.apply(params, x))
    norms = jaxsat.log_gradient_norms(net, params, x, cotangent=cotangent)
    np.testing.assert_allclose(norms, names["hooked"], atol=1e-4)  # float32, three layers
