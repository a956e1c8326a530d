"""LAPACK calls that nothing orders can hang a machine of two cores for good: these finish."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxsat.ordering import after

PROGRAM = """
import jaxsat
net = jaxsat.MLP(depth=8, width=64, ensemble="orthogonal", inputs=48, outputs=32)
measures = ["log_singular_values", "singular_values"]
print(jaxsat.sweep(net, measures, {"weight_scale": [1.0, 2.0]}, seeds=40, progress=False).sizes["index"])
"""


def test_values_and_keys_are_kept_bit_for_bit():
    key, x = jax.random.key(1), jnp.array([0.1, -jnp.inf])
    np.testing.assert_array_equal(jax.random.key_data(after(x, key)), jax.random.key_data(key))
    np.testing.assert_array_equal(after(jnp.ones(0), x), x)
    np.testing.assert_array_equal(after(jnp.ones(2), x), x)


def test_a_sweep_with_several_decompositions_ends():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "32", done.stderr
