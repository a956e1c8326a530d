"""The claim on recurrent networks: whether a gate that saturates makes gradients vanish in time."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxsat
from analyses.claims.networks import Networks
from analyses.claims.rows import Row, of_seeds
from jaxsat import activations, theory
from jaxsat.measures import saturation
from jaxsat.measures.by_scan import state_log_gradient_norms
from jaxsat.networks.protocol import gaussian_input

GATED = ("minimal", "gru", "lstm")
PUSHES = {"shut": -5.0, "open": 5.0}  # bias of the gate that keeps the state: its slope is at most 3 % of the largest
STEPS, SHOWN = 200, slice(100, 150)  # steps, and those over which growth is taken: settled before, and far from the end


def saturated_gates_make_gradients_vanish(networks: Networks) -> list[Row]:
    """Return the growth of gradients per step back with the keep gate pushed into saturation, less that without."""
    rows = []
    for cell in GATED:
        centred = _looked_at(networks, cell, 0.0)[0]
        for word, bias in PUSHES.items():
            growth, saturated = _looked_at(networks, cell, bias)
            condition = f"{cell}, gate {word}, {saturated.mean():.0%} saturated"
            expected = _growth_in_theory(cell, bias) - _growth_in_theory(cell, 0.0)
            rows.append(of_seeds(condition, growth - centred, expected))
    return rows


def _looked_at(networks: Networks, cell: str, gate_bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the growth of ln ||dE/dh|| per step back, and the share of saturated slopes of the keep gate, for each seed."""
    keys = networks.keys(networks.options.drawn_seeds)
    growth, saturated = _program(cell, networks.options.width)(keys, jnp.asarray(gate_bias, jnp.result_type(float)))
    return np.asarray(growth), np.asarray(saturated)


@functools.cache
def _program(cell: str, width: int):
    """One compilation for all biases of a cell."""

    def of_network(key, gate_bias):
        net = jaxsat.Recurrent(steps=STEPS, width=width, cell=cell, gate_bias=gate_bias)
        params, x = net.init(key), gaussian_input(net, key)
        norms = state_log_gradient_norms(net, params, x, key=key)
        gates = net.trace(params, x).gates
        assert gates is not None
        share = saturation.saturated_fraction(activations.get("sigmoid"), gates[SHOWN, 0])
        growth = (norms[SHOWN.start] - norms[SHOWN.stop]) / (SHOWN.stop - SHOWN.start)
        return growth, jnp.mean(share)

    return jax.jit(jax.vmap(of_network, (0, None)))


def _growth_in_theory(cell: str, gate_bias: float) -> float:
    with jax.enable_x64(True):
        return float(jnp.log(theory.recurrent_mean_field(cell, gate_bias=gate_bias).chi)) / 2
