"""The back-propagated signal, layer by layer, in the log domain.

    delta_depth = D_depth u,    delta_l = D_l W_{l+1}^T delta_{l+1},    delta_l = dE/dh_l

(with skip connections and normalisation N_l, of derivative N_l': delta_l = a D_l dE/dx_l and
dE/dx_{l-1} = dE/dx_l + W_l^T N_l'^T delta_l).
One reverse scan over the layers carries the signal as direction * exp(log_scale) with max|direction| = 1; slopes
enter as logarithms. A 1000-layer sigmoid network has ||delta_1|| of about exp(-1400): here a finite number in
float32, where plain back-propagation returns 0 from the 65th layer on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key

from jaxsat import addresses, checks
from jaxsat.linalg.magnitudes import maximum_or_nan
from jaxsat.measures import by_scan
from jaxsat.networks import normalization
from jaxsat.networks.mlp import MLP, check_net, check_params
from jaxsat.networks.parameters import Params, Trace
from jaxsat.networks.protocol import Network, check_network, checked_input


class Signal(NamedTuple):
    """delta_l = direction[l-1] * exp(log_scale[l-1]), with max|direction[l-1]| = 1; exactly 0 where -inf."""

    direction: Float[Array, "depth width"]
    log_scale: Float[Array, " depth"]


def unit_cotangent(net: MLP, key: Key[Array, ""]) -> Float[Array, " outputs"]:
    """Return the cotangent used where no loss is given: gaussian with unit norm, at the network's output."""
    check_net("unit_cotangent", net)
    dtype = jnp.result_type(float)
    key = checks.random_key("unit_cotangent", "key", key)
    return by_scan.drawn_cotangent(key, jax.ShapeDtypeStruct((net.output_width,), dtype))


def backpropagated_signal(
    net: MLP, params: Params, x: Float[ArrayLike, " inputs"], cotangent: Float[ArrayLike, " outputs"]
) -> Signal:
    """Return dE/dh_l at every layer, as a direction and the logarithm of its largest entry.

    Args:
        net, params, x: the network and one input.
        cotangent: dE/dy at the network's output y.

    Accuracy: log_scale accumulates one rounding per layer, of eps times its size or the largest |ln slope|: about
    1e-4 in float32 at -1400, 1e-12 in float64. Entries below eps times the largest keep only absolute accuracy. The
    forward pass runs in the parameters' dtype: where activations themselves underflow to 0 (ReLU far below its
    critical scale: from 90 to 100 layers at sigma_w = 0.5 in float32), slopes are those at 0.

    >>> net = MLP(depth=1000, width=16, activation="sigmoid")
    >>> params = net.init(jax.random.key(0))
    >>> signal = backpropagated_signal(net, params, jnp.ones(16), jnp.ones(16))
    >>> signal.direction.shape, -2000 < float(signal.log_scale[0]) < -1000
    ((1000, 16), True)
    """
    check_net("backpropagated_signal", net)
    cotangent = _checked_cotangent(net, cotangent)
    return signal_of_trace(net, params, net.trace(params, x), cotangent)


def log_gradient_norms(
    net: Network,
    params: Any,
    x: Float[ArrayLike, ...],
    cotangent: Any = None,
    *,
    key: Key[Array, ""] | None = None,
    every_depth: bool = False,
) -> Float[Array, "*depth depth"]:
    """Return ln ||dE/dh_l||, the logarithm of the Euclidean norm of the signal at layers l = 1 .. depth.

    Of a network that is no MLP: ln ||dE/dc_t|| for t = 0 .. T, with c_t the carry of its scan after t steps (c_0: the
    first). For a recurrent network t is time, and c_t its state. These are T + 1 numbers. The measure of the same name, in
    ``sweep`` and ``train``, leaves t = 0 out and has T numbers, those after the steps 1 .. T.

    Args:
        net, params, x: a network, its parameters and one input.
        cotangent: dE/dy at the output; None draws it, gaussian with unit norm, from `key`.
        key: address of the drawn cotangent; None means ``addresses.root(0)``.
        every_depth: False gives shape (depth,). True gives (depth, depth): row k-1 is the network made of the first
            k layers (and the read-out, if there is one), columns beyond it are NaN. For an MLP only.

    Returns: natural logarithms; -inf where the gradient is exactly zero: a dead network, not an underflow on the way back.

    Cost: one forward and one backward pass; with every_depth, `depth` cotangents go back together.

    Accuracy: as :func:`backpropagated_signal`; of other networks as ``log_gradient_norms_of_scan``.

    Raises:
        ValueError: `x` or `cotangent` of another width; every_depth of a network that is no MLP.
        TypeError: `net` is no network.

    >>> net = MLP(depth=4, width=8, activation="identity", ensemble="orthogonal", weight_scale=0.5)
    >>> norms = log_gradient_norms(net, net.init(jax.random.key(0)), jnp.ones(8), jnp.eye(8)[0])
    >>> [round(abs(float(v)), 3) for v in norms / jnp.log(0.5)]  # each orthogonal layer halves it
    [3.0, 2.0, 1.0, 0.0]
    """
    check_network("log_gradient_norms", net)
    if not isinstance(net, MLP):
        if every_depth:
            rule = f"be False for {type(net).__name__}: only an MLP has the form for every depth"
            raise ValueError(checks.refusal("log_gradient_norms", "every_depth", rule, True))
        return by_scan.state_log_gradient_norms(net, params, checked_input(net, params, x), cotangent, key)
    if cotangent is None:
        cotangent = unit_cotangent(net, addresses.root(0) if key is None else key)
    if not every_depth:
        return log_norms(backpropagated_signal(net, params, x, cotangent))
    cotangent = _checked_cotangent(net, cotangent)
    trace = net.trace(params, x)
    depths = jnp.arange(1, net.depth + 1)
    norms = jax.vmap(lambda depth: signal_of_trace(net, params, trace, cotangent, depth, keep=log_norms))(depths)
    return jnp.where(depths[:, None] >= depths[None, :], norms, jnp.nan)


def signal_of_trace(
    net: MLP,
    params: Params,
    trace: Trace,
    cotangent: Float[ArrayLike, " outputs"],
    depth: Int[ArrayLike, ""] | None = None,
    keep: Callable[[Signal], Any] = lambda signal: signal,
) -> Any:
    """Return :func:`backpropagated_signal` where the forward pass is known already.

    Args:
        trace: of the network.
        depth: where the cotangent enters: after this layer (1 .. net.depth), as if the network ended there; None
            means after the last. The signal above it is zero.
        keep: what to keep of each layer's signal (direction of shape (width,), scalar log_scale). Keeping less saves
            memory traffic, which is most of the cost. Static.
    """
    check_net("signal_of_trace", net)
    net.check_parameters(params)
    if not isinstance(trace, Trace):
        came = checks.Shown(type(trace).__name__)
        raise TypeError(checks.refusal("signal_of_trace", "trace", "be what net.trace(params, x) returns", came))
    cotangent = _checked_cotangent(net, cotangent)
    return _signal_of_trace(net, params, trace, cotangent, depth, keep)


@functools.partial(jax.jit, static_argnums=5)
def _signal_of_trace(
    net: MLP, params: Params, trace: Trace, cotangent: Array, depth: Array | int | None, keep: Callable[[Signal], Any]
) -> Any:
    last = net.depth if depth is None else depth
    top = jnp.asarray(cotangent, params.first.dtype)
    if params.readout is not None:
        top = params.weight_scale * jnp.einsum("o,oi->i", top, params.readout)

    def through_slope(incoming, log_scale, h, a):
        """Return delta_l from dE/dx_l = incoming * exp(log_scale)."""
        log_size = jnp.log(jnp.abs(incoming)) + net.phi.log_abs_slope(h)
        if a is not None:
            log_size = log_size + jnp.log(a)
        largest = maximum_or_nan(log_size)
        relative = log_size - jnp.where(jnp.isneginf(largest), 0, largest)
        sign = jnp.sign(incoming) * net.phi.slope_sign(h)
        return Signal(sign * jnp.exp(relative), log_scale + largest)

    def entering(incoming, log_scale, layer):
        """Return dE/dx_l, which is the cotangent where the network ends."""
        return jnp.where(layer == last, top, incoming), jnp.where(layer == last, 0, log_scale)

    def layer(carry, inputs):
        weight, one, index = inputs
        carry = entering(*carry, index)
        signal = through_slope(*carry, one.pre_activations, params.residual_scale)
        direction, log_scale = signal
        if one.deviations is not None:
            direction = normalization.projected(direction, one.pre_activations)
            log_scale = log_scale + normalization.log_reciprocal(one.deviations)
        below = params.weight_scale * jnp.einsum("o,oi->i", direction, weight), log_scale
        if params.residual_scale is not None:
            below = _sum(carry, below)
        return below, keep(signal)

    start = jnp.zeros_like(top), jnp.full_like(top, -jnp.inf, shape=())
    bottom, upper = jax.tree.map(lambda a: a[0], trace), jax.tree.map(lambda a: a[1:], trace)
    layers = (params.hidden, upper, jnp.arange(2, net.depth + 1))
    carry, rest = jax.lax.scan(layer, start, layers, reverse=True)
    a = params.residual_scale if net.first_has_skip else None
    first = keep(through_slope(*entering(*carry, 1), bottom.pre_activations, a))
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)


def _sum(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the sum of two signals incoming * exp(log_scale), in the same form, beside the larger of them."""
    sizes = [jnp.max(jnp.abs(incoming)) for incoming, _ in (a, b)]
    logs = [log_scale + jnp.log(size) for (_, log_scale), size in zip((a, b), sizes, strict=True)]
    largest = jnp.maximum(*logs)
    common = jnp.where(jnp.isneginf(largest), 0, largest)
    parts = [
        incoming / jnp.where(size == 0, 1, size) * jnp.exp(log - common)
        for (incoming, _), size, log in zip((a, b), sizes, logs, strict=True)
    ]
    return parts[0] + parts[1], largest


def log_norms(signal: Signal) -> Float[Array, "*depth"]:
    """Return ln of the Euclidean norm of a signal at every layer."""
    if not isinstance(signal, Signal):
        came = checks.Shown(type(signal).__name__)
        raise TypeError(checks.refusal("log_norms", "signal", "be what backpropagated_signal returns", came))
    return _log_norms_of(signal)


@jax.jit
def _log_norms_of(signal: Signal) -> Float[Array, "*depth"]:
    # The largest entry is 1, so the sum neither overflows nor vanishes; a zero signal has log_scale -inf.
    squares = jnp.sum(signal.direction**2, axis=-1)
    return signal.log_scale + jnp.log(jnp.maximum(squares, 1)) / 2


def plain_gradient_is_zero(
    net: MLP, params: Params, x: Float[ArrayLike, " inputs"], cotangent: Float[ArrayLike, " outputs"]
) -> Bool[Array, " depth"]:
    """Return whether ordinary back-propagation, run in the parameters' own dtype, returns exactly 0 for all of dE/dh_l.

    What a training program would see: ``jax.grad`` of the network, with that dtype's underflow (subnormal numbers as
    the device treats them; CPUs under XLA flush them to zero). To see autodiff's own spurious zeros too, make the
    network with a callable such as ``jax.nn.sigmoid`` for its activation.

    >>> net = MLP(depth=60, width=8, activation="sigmoid")
    >>> params = net.init(jax.random.key(0), jnp.float16)
    >>> zero = plain_gradient_is_zero(net, params, jnp.ones(8), jnp.ones(8))
    >>> bool(zero[0]), bool(zero[-1])
    (True, False)
    """
    check_net("plain_gradient_is_zero", net)
    check_params("plain_gradient_is_zero", params)
    net.check_parameters(params)
    u = _checked_cotangent(net, cotangent).astype(params.first.dtype)
    scaled = params.scaled()

    def loss(shifts):
        return jnp.sum(net.apply(scaled, x, shifts) * u)

    return jnp.all(jax.grad(loss)(jnp.zeros_like(scaled.biases)) == 0, axis=-1)


def _checked_cotangent(net: MLP, cotangent: ArrayLike) -> Array:
    given = checks.real_array("gradients", "cotangent", cotangent)
    if given.shape != (net.output_width,):
        rule = f"have the output's shape ({net.output_width},)"
        raise ValueError(checks.refusal("gradients", "cotangent", rule, checks.Shown(given.shape)))
    return given
