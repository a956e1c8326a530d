"""The cells of recurrent networks: how the state of one step follows from the state before and the input.

With h the state, x the input of a step, and for each row r = candidate, keep, reset ...

    a_r(h, x) = weight_scale U_r h + input_scale V_r x + bias_scale b_r

    tanh      h' = phi(a_candidate)
    minimal   z = phi(input_scale V_candidate x),  u = sigmoid(a_keep(h, z) + gate_bias),  h' = u h + (1 - u) z
    gru       u = sigmoid(a_keep + gate_bias),  r = sigmoid(a_reset),  n = phi(a_candidate(r h, x)),  h' = u h + (1 - u) n
    lstm      f = sigmoid(a_keep + gate_bias),  i, o = sigmoid(a_input), sigmoid(a_output)
              c' = f c + i phi(a_candidate),  h' = o phi(c')

Chrono initialisation adds ln(1 + (T - 2) v) to a_keep, v uniform in [0, 1] for each unit and T the number of steps, and
subtracts it from a_input. Slopes are those of the catalogue of activations, right in saturation where autodiff's of
``jax.nn`` are 0.

References: Chen, Pennington & Schoenholz 2018 (minimal); Cho et al. 2014 (gru: the reset gate acts before the product);
Hochreiter & Schmidhuber 1997, Gers, Schmidhuber & Cummins 2000 (lstm); Tallec & Ollivier 2018 (chrono).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsat import activations
from jaxsat.activations import Activation


class RecurrentParams(NamedTuple):
    """The parameters of one recurrent network: unit draws, and the scales that multiply them.

    Rows of the first axis are those of the cell (see ``cells``), candidate first. Matrices multiply from the left.
    A scale that is None is 1 and not a parameter: :meth:`scaled` makes such parameters, for training.

    Attributes:
        recurrent: U_r, act on the state.
        inputs: V_r, act on the input.
        embedded: V_keep of the minimal cell, which acts on the embedded input z; else None.
        biases: b_r.
        keep_bias: what chrono initialisation adds to the keep gate; None without it.
        readout, readout_bias: of the outputs; None without a read-out.
        weight_scale, input_scale, bias_scale, gate_bias: of the network.
    """

    recurrent: Float[Array, "rows width width"]
    inputs: Float[Array, "fed width inputs"]
    embedded: Float[Array, "width width"] | None
    biases: Float[Array, "rows width"]
    keep_bias: Float[Array, " width"] | None
    readout: Float[Array, "outputs width"] | None
    readout_bias: Float[Array, " outputs"] | None
    weight_scale: Float[Array, ""] | None
    input_scale: Float[Array, ""] | None
    bias_scale: Float[Array, ""] | None
    gate_bias: Float[Array, ""] | None

    def scaled(self, cell: Cell) -> RecurrentParams:
        """Return the same network with its scales and gate biases multiplied and added into the draws."""
        biases = _times(self.bias_scale, self.biases)
        for name, sign in (("keep", 1), ("input", -1)):
            if name in cell.rows:
                row = cell.rows.index(name)
                shift = self.shift_of_gates(sign)
                biases = biases.at[row].add(jnp.broadcast_to(shift, biases[row].shape))
        return RecurrentParams(
            recurrent=_times(self.weight_scale, self.recurrent),
            inputs=_times(self.input_scale, self.inputs),
            embedded=None if self.embedded is None else _times(self.input_scale, self.embedded),
            biases=biases,
            keep_bias=None,
            readout=None if self.readout is None else _times(self.weight_scale, self.readout),
            readout_bias=None if self.readout_bias is None else _times(self.bias_scale, self.readout_bias),
            weight_scale=None,
            input_scale=None,
            bias_scale=None,
            gate_bias=None,
        )

    def shift_of_gates(self, sign: int) -> Array:
        """Return what is added to the keep gate (sign 1), or to the lstm's input gate (sign -1: chrono's part only)."""
        zero = jnp.zeros((), self.recurrent.dtype)
        if self.keep_bias is not None:
            return sign * self.keep_bias
        return zero if self.gate_bias is None or sign < 0 else self.gate_bias


class RecurrentTrace(NamedTuple):
    """What each step computed for one sequence, t = 1 .. steps.

    Attributes:
        pre_activations: what phi sees in the candidate.
        activations: h_t, the visible state.
        gates: what the sigmoid of each gate sees, in the order of the cell's gates; None in a cell without gates.
    """

    pre_activations: Float[Array, "steps width"]
    activations: Float[Array, "steps width"]
    gates: Float[Array, "steps gates width"] | None


Look = Callable[[Any, Array], tuple[Any, RecurrentTrace]]  # a step that also tells what it computed


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """A kind of recurrent cell.

    Attributes:
        name: of the cell.
        rows: of the recurrent weights and biases.
        fed: of the weights that act on the input.
        carries: how many vectors of the network's width the state has.
        look: (phi, params) -> a function of the carry and the input of one step.
    """

    name: str
    rows: tuple[str, ...]
    fed: tuple[str, ...]
    carries: int
    look: Callable[[Activation, RecurrentParams], Look]

    @property
    def gates(self) -> tuple[str, ...]:
        """The rows that a sigmoid follows."""
        return tuple(name for name in self.rows if name != "candidate")


def _times(scale: Array | None, array: Array) -> Array:
    return array if scale is None else scale * array


def _affine(params: RecurrentParams, h: Array, fed: Array, rows: slice = slice(None)) -> Array:
    """Return a_r of some rows; `fed` is V_r x, unscaled."""
    # Under vmap over scales the draws stay unbatched, and this is one wide product.
    weights = params.recurrent[rows]
    recurrent = jnp.einsum("i,roi->ro", h, weights)
    biases = _times(params.bias_scale, params.biases[rows])
    return _times(params.weight_scale, recurrent) + _times(params.input_scale, fed) + biases


def _fed(params: RecurrentParams, x: Array) -> Array:
    return jnp.einsum("i,roi->ro", x, params.inputs)


def _look_tanh(phi: Activation, params: RecurrentParams) -> Look:
    def look(h: Array, x: Array) -> tuple[Array, RecurrentTrace]:
        a = _affine(params, h, _fed(params, x))[0]
        new = phi(a)
        return new, RecurrentTrace(a, new, None)

    return look


def _look_minimal(phi: Activation, params: RecurrentParams) -> Look:
    sigmoid = activations.get("sigmoid")
    embedded = params.embedded
    assert embedded is not None

    def look(h: Array, x: Array) -> tuple[Array, RecurrentTrace]:
        a = _times(params.input_scale, _fed(params, x)[0])
        z = phi(a)
        keep = _affine(params, h, jnp.einsum("i,oi->o", z, embedded)[None])[0] + params.shift_of_gates(1)
        new = sigmoid(keep) * h + sigmoid(-keep) * z
        return new, RecurrentTrace(a, new, keep[None])

    return look


def _look_gru(phi: Activation, params: RecurrentParams) -> Look:
    sigmoid = activations.get("sigmoid")

    def look(h: Array, x: Array) -> tuple[Array, RecurrentTrace]:
        fed = _fed(params, x)
        gates = _affine(params, h, fed[1:], slice(1, None))
        keep, reset = gates[0] + params.shift_of_gates(1), gates[1]
        a = _affine(params, sigmoid(reset) * h, fed[:1], slice(0, 1))[0]
        new = sigmoid(keep) * h + sigmoid(-keep) * phi(a)
        return new, RecurrentTrace(a, new, jnp.stack([keep, reset]))

    return look


def _look_lstm(phi: Activation, params: RecurrentParams) -> Look:
    sigmoid = activations.get("sigmoid")

    def look(carry: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], RecurrentTrace]:
        h, c = carry
        a, keep, write, show = _affine(params, h, _fed(params, x))
        keep, write = keep + params.shift_of_gates(1), write + params.shift_of_gates(-1)
        c = sigmoid(keep) * c + sigmoid(write) * phi(a)
        h = sigmoid(show) * phi(c)
        return (h, c), RecurrentTrace(a, h, jnp.stack([keep, write, show]))

    return look


CELLS: dict[str, Cell] = {
    "tanh": Cell(name="tanh", rows=("candidate",), fed=("candidate",), carries=1, look=_look_tanh),
    "minimal": Cell(name="minimal", rows=("keep",), fed=("candidate",), carries=1, look=_look_minimal),
    "gru": Cell(
        name="gru",
        rows=("candidate", "keep", "reset"),
        fed=("candidate", "keep", "reset"),
        carries=1,
        look=_look_gru,
    ),
    "lstm": Cell(
        name="lstm",
        rows=("candidate", "keep", "input", "output"),
        fed=("candidate", "keep", "input", "output"),
        carries=2,
        look=_look_lstm,
    ),
}
