"""Recurrent: networks that loop over time, with one set of weights for all steps.

Each row of a cell draws from its own address, and the candidate and the keep gate have the same address in every cell:
cells are compared on the same draws. Steps of a drawn input have their own addresses too, so the first steps of a long
sequence are the short sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, DTypeLike, Float, Key

from jaxsat import activations, addresses, checks
from jaxsat.activations import Activation
from jaxsat.jax_compat import Tracer
from jaxsat.linalg import ensembles
from jaxsat.linalg.lapack import after
from jaxsat.networks.appearance import network_line, network_table
from jaxsat.networks.cells import CELLS, Cell, RecurrentParams, RecurrentTrace
from jaxsat.networks.protocol import applied, check_held, check_leaves, wrong_params
from jaxsat.networks.registration import check_field, register_network

RECURRENT_ENSEMBLES = ("gaussian", "uniform", "orthogonal", "identity")
SWEPT = ("weight_scale", "bias_scale", "input_scale", "gate_bias")
CHRONO = "chrono"


@dataclasses.dataclass(frozen=True)
class Recurrent:
    """A recurrent network of `width` units that reads a sequence of `steps` inputs. Its first state is 0.

    Args:
        steps, width: length of the sequence, units of the state; at least 1.
        cell: 'tanh' (h' = phi(W h + V x + b), whatever the activation), 'minimal' (minimalRNN), 'gru' or 'lstm'. The
            module ``jaxsat.networks.cells`` has the equations.
        activation: phi: a name, a record of ``activations``, or an elementwise callable. Gates are sigmoids.
        weight_scale: finite and >= 0: recurrent weights and read-out have entries of variance weight_scale^2 / width.
        bias_scale: finite and >= 0: biases have variance bias_scale^2.
        input_scale: finite and >= 0: weights that act on an input of n numbers have variance input_scale^2 / n.
        gate_bias: a finite number that is added to the gate that keeps the state (the lstm's forget gate, u of minimal
            and gru); or 'chrono': ln(1 + (steps - 2) v) with v uniform in [0, 1] for each unit. The tanh cell has no
            gate and ignores it.
        ensemble: of the recurrent weights: 'gaussian', 'uniform', 'orthogonal', or 'identity' (each weight_scale times
            the identity). The others are gaussian, for 'uniform' uniform.
        inputs: numbers of each step's input; None means `width`.
        outputs: width of a linear read-out after the last step; None means that the output is the state h.

    A network is a pytree: the four numbers are its leaves, everything else is static. It goes through jit and vmap.

    ``scan`` has the state as carry: h, or the pair (h, c) for an lstm.

    References: Hochreiter & Schmidhuber 1997; Cho et al. 2014; Le, Jaitly & Hinton 2015 (identity); Chen, Pennington &
    Schoenholz 2018 (minimal); Tallec & Ollivier 2018 (chrono).

    Raises:
        ValueError: sizes below 1, numbers that are not finite or scales that are negative, unknown names.
        TypeError: sizes that are not integers, numbers that are none.

    >>> net = Recurrent(steps=5, width=3, cell="lstm", inputs=2, gate_bias=1.0)
    >>> params = net.init(jax.random.key(0))
    >>> net.apply(params, jnp.ones((5, 2))).shape, net.trace(params, jnp.ones((5, 2))).gates.shape
    ((3,), (5, 3, 3))
    """

    steps: int
    width: int
    cell: str = "tanh"
    activation: Activation | str | Callable[[Array], Array] = "tanh"
    weight_scale: Any = 1.0
    bias_scale: Any = 0.0
    input_scale: Any = 1.0
    gate_bias: Any = 0.0
    ensemble: str = "gaussian"
    inputs: int | None = None
    outputs: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "width", "inputs", "outputs"):
            value = getattr(self, name)
            if value is not None or name in ("steps", "width"):
                object.__setattr__(self, name, checks.size("Recurrent", name, value))
        checks.one_of("Recurrent", "cell", self.cell, CELLS)
        object.__setattr__(self, "activation", activations.get(self.activation))
        checks.one_of("Recurrent", "ensemble", self.ensemble, RECURRENT_ENSEMBLES)
        for name in SWEPT:
            value = getattr(self, name)
            if name == "gate_bias" and isinstance(value, str):
                checks.one_of("Recurrent", name, value, [CHRONO], "be a number or 'chrono'")
            elif not isinstance(value, Tracer):
                _check_number(name, value)

    def __repr__(self) -> str:
        return network_line(self)

    def _repr_html_(self) -> str:
        return network_table(self)

    @property
    def parts(self) -> Cell:
        """The record of the cell."""
        return CELLS[self.cell]

    @property
    def phi(self) -> Activation:
        """The record of the activation."""
        return activations.get(self.activation)

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the cell's gates, in the order of `trace(..).gates`."""
        return self.parts.gates

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of one input: (steps, inputs)."""
        return self.steps, self.width if self.inputs is None else self.inputs

    @property
    def scan_axis(self) -> str:
        """What the loop of this network runs over."""
        return "time"

    def init(self, key: Key[Array, ""], dtype: DTypeLike | None = None) -> RecurrentParams:
        """Draw the parameters of one network.

        Args:
            key: address of the network.
            dtype: of the parameters. They are drawn in the default float dtype and then cast.
        """
        check_held("Recurrent", len(self.parts.rows) * self.width * (self.width + self.input_shape[1]))
        params = self._drawn(checks.random_key("Recurrent", "key", key))
        return params if dtype is None else jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    @jax.jit  # outside jit each draw would be a program of its own
    def _drawn(self, key: Array) -> RecurrentParams:
        draw = ensembles.get("uniform" if self.ensemble == "uniform" else "gaussian")
        rows, fed, n = self.parts.rows, self.parts.fed, self.width
        weights, biases = {}, {}
        for name in sorted({*rows, *fed}, key=lambda name: addresses.ROWS[name]):
            weights[name], biases[name] = addresses.layer(key, addresses.ROWS[name])
        embedded = None
        if self.cell == "minimal":
            embedded = draw(jax.random.fold_in(weights["keep"], addresses.ROW_EMBEDDED), n, n)
        readout, readout_bias = None, None
        if self.outputs is not None:
            weight_key, bias_key = addresses.layer(key, addresses.READOUT)
            readout, readout_bias = draw(weight_key, self.outputs, n), draw(bias_key, self.outputs, 1)[:, 0]
        keep_bias = None
        if isinstance(self.gate_bias, str) and "keep" in rows:  # 'chrono'
            share = jax.random.uniform(jax.random.fold_in(biases["keep"], addresses.ROW_TIMES), (n,))
            keep_bias = jnp.log1p(max(self.steps - 2, 0) * share)
        inputs = [draw(jax.random.fold_in(weights[name], addresses.ROW_INPUTS), n, self.input_shape[1]) for name in fed]
        return RecurrentParams(
            recurrent=self._recurrent([weights[name] for name in rows]),
            inputs=jnp.stack(inputs),
            embedded=embedded,
            biases=jnp.stack([draw(biases[name], n, 1)[:, 0] for name in rows]),
            keep_bias=keep_bias,
            readout=readout,
            readout_bias=readout_bias,
            **{name: _leaf(getattr(self, name)) for name in SWEPT},
        )

    def _recurrent(self, keys: list[Array]) -> Float[Array, "rows width width"]:
        """Draw the recurrent weights of all rows, one after the other (see ``linalg.lapack``)."""
        if self.ensemble == "identity":
            return jnp.stack([jnp.eye(self.width)] * len(keys))
        draw, drawn = ensembles.get(self.ensemble), []
        for key in keys:
            earlier = drawn[-1] if drawn and self.ensemble == "orthogonal" else None
            drawn.append(draw(key if earlier is None else after(earlier, key), self.width, self.width))
        return jnp.stack(drawn)

    def scan(
        self, params: RecurrentParams, x: Float[ArrayLike, "steps inputs"]
    ) -> tuple[Callable[[Any, Any], Any], Any, Float[Array, "steps inputs"]]:
        """Return step, first state and inputs: ``step(carry, x) -> carry``, as ``jax.lax.scan`` takes them.

        The carry is h of shape (width,), or (h, c) for an lstm.
        """
        xs = self.checked(params, x)
        look = self.parts.look(self.phi, params)
        zero = jnp.zeros(self.width, params.recurrent.dtype)
        carry = zero if self.parts.carries == 1 else (zero,) * self.parts.carries
        return lambda carry, x: look(carry, x)[0], carry, xs

    def read_out(self, params: RecurrentParams, carry: Any) -> Float[Array, " outputs"]:
        """Return the output that belongs to a state."""
        h = carry if self.parts.carries == 1 else carry[0]
        if params.readout is None:
            return h
        assert params.readout_bias is not None
        y = jnp.einsum("i,oi->o", h, params.readout)
        y = y if params.weight_scale is None else params.weight_scale * y
        bias = params.readout_bias
        return y + (bias if params.bias_scale is None else params.bias_scale * bias)

    def apply(self, params: RecurrentParams, x: Float[ArrayLike, "steps inputs"]) -> Float[Array, " outputs"]:
        """Return the output after the last step, for one sequence. A batch goes through ``jax.vmap``."""
        return applied(self, params, self.checked(params, x))

    def trace(self, params: RecurrentParams, x: Float[ArrayLike, "steps inputs"]) -> RecurrentTrace:
        """Return what each step computed for one sequence: arguments of phi and of the gates, and states."""
        return self._looked_at(params, self.checked(params, x))

    @jax.jit
    def _looked_at(self, params: RecurrentParams, x: Array) -> RecurrentTrace:
        _, carry, xs = self.scan(params, x)
        return jax.lax.scan(self.parts.look(self.phi, params), carry, xs)[1]

    def apply_at_last(
        self, params: RecurrentParams, x: Float[ArrayLike, "steps inputs"], count: int
    ) -> Float[Array, "count outputs"]:
        """Return the outputs after each of the last `count` steps."""
        step, carry, xs = self.scan(params, x)

        def both(carry: Any, x: Array) -> tuple[Any, Array]:
            carry = step(carry, x)
            return carry, self.read_out(params, carry)

        carry = jax.lax.scan(lambda carry, x: (step(carry, x), None), carry, xs[: self.steps - count])[0]
        return jax.lax.scan(both, carry, xs[self.steps - count :])[1]

    def folded(self, params: RecurrentParams) -> RecurrentParams:
        """Return the same network with all scales multiplied into the weights: what training starts from."""
        return params.scaled(self.parts)

    def checked(self, params: RecurrentParams, x: ArrayLike) -> Array:
        """Return the inputs in the dtype of the parameters; raise unless both belong to the network."""
        if not isinstance(params, RecurrentParams):
            raise wrong_params("Recurrent", params, "be made by init")
        n, rows, fed = self.width, len(self.parts.rows), len(self.parts.fed)
        shapes = {"recurrent": (rows, n, n), "inputs": (fed, n, self.input_shape[1]), "biases": (rows, n)}
        shapes |= {} if self.outputs is None else {"readout": (self.outputs, n), "readout_bias": (self.outputs,)}
        check_leaves("Recurrent", params, shapes)
        given = checks.real_array("Recurrent", "x", x)
        if given.shape != self.input_shape:
            rule = f"be one sequence of shape {self.input_shape}"
            remedy = "Use jax.vmap for a batch, or set `steps` and `inputs`."
            raise ValueError(checks.refusal("Recurrent", "x", rule, checks.Shown(given.shape), remedy))
        return given.astype(params.recurrent.dtype)


def _leaf(value: Any) -> Array | None:
    """Return a swept number as an array; None where it is a name, of which the draws take care."""
    return None if isinstance(value, str) else jnp.asarray(value, jnp.result_type(float))


def _check_number(name: str, value: Any) -> None:
    check_field("Recurrent", name, value, swept=True)
    if value is None or isinstance(value, str):
        raise TypeError(checks.refusal("Recurrent", name, "be a number", value))
    if name != "gate_bias" and (np.asarray(value) < 0).any():
        raise ValueError(checks.refusal("Recurrent", name, "be at least 0", value))


register_network(Recurrent, SWEPT)
