"""LAPACK calls that nothing orders can hang a machine of two cores for good: these finish."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import addresses
from jaxsat.linalg.lapack import after

PROGRAM = """
import jaxsat
net = jaxsat.MLP(depth=8, width=64, ensemble="orthogonal", inputs=48, outputs=32)
measures = ["log_singular_values", "singular_values"]
print(jaxsat.sweep(net, measures, {"weight_scale": [1.0, 2.0]}, seeds=40, progress=False).sizes["index"])
"""


@pytest.mark.parametrize("earlier", [[0.1, jnp.nan], [jnp.nan, 0.1], [-jnp.inf, 1.0], []])
def test_values_and_keys_are_kept_bit_for_bit(earlier):
    key, x = addresses.root(1), jnp.array([0.1, -jnp.inf, jnp.nan])
    np.testing.assert_array_equal(jax.random.key_data(after(jnp.array(earlier), key)), jax.random.key_data(key))
    np.testing.assert_array_equal(after(jnp.array(earlier), x), x)
    np.testing.assert_array_equal(jax.jit(after)(jnp.array(earlier), x), x)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_compiled_program_still_waits(dtype):
    """XLA removes what it can prove to be no dependency; then the parameter would be named once, where it comes in."""
    program = jax.jit(after).lower(jnp.ones((3, 4), dtype), jnp.ones(5, dtype)).compile().as_text()
    entry = program[program.index("ENTRY") :]
    assert len(re.findall(r"%earlier[.\d]*", entry)) == 2


@pytest.mark.slow
def test_a_sweep_with_several_decompositions_ends():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "32", done.stderr
