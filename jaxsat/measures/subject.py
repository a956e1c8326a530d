"""What is looked at: a network, its inputs, and what several measures need of them, computed once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxsat import activations
from jaxsat.activations import Activation
from jaxsat.linalg.lapack import after
from jaxsat.measures import by_scan, gradients, jacobians
from jaxsat.networks import normalization
from jaxsat.networks.mlp import MLP
from jaxsat.networks.protocol import gaussian_input


class Subject:
    """One MLP looked at: its draw and its forward pass, made once however many measures ask for them.

    Args:
        net: the network.
        key: its address; None where parameters and inputs are given, and a cotangent.
        x: an input, a batch of inputs, or None: a drawn input.
        params: of the network, if they are drawn already.
        cotangent_of: from the outputs of all inputs to dE/dy of each, where x is a batch; None: a gaussian cotangent of
            unit norm for all.
        few: how many inputs have their Jacobians looked at; None: all.
    """

    def __init__(
        self, net: Any, key: Array | None, x: Any, params: Any = None, *,
        cotangent_of: Callable[[Any], Any] | None = None, few: int | None = None,
    ):  # fmt: skip
        self.net, self.key, self._drawn = net, key, params
        self._cotangent_of, self._few = cotangent_of, few
        self.inputs = self._batch(x)

    def _batch(self, x: Any) -> Array:
        if x is None:
            assert self.key is not None
            return gaussian_input(self.net, self.key)[None]
        shape = getattr(self.net, "input_shape", None)
        x = jnp.asarray(x)
        batch = self._cotangent_of is not None or (shape is not None and x.ndim == len(shape) + 1)
        return x if batch else x[None]

    @property
    def phi(self) -> Activation:
        """The activation whose arguments the trace holds."""
        return activations.get(self.net.activation)

    @functools.cached_property
    def params(self) -> Any:
        return self.net.init(self.key) if self._drawn is None else self._drawn

    @functools.cached_property
    def trace(self) -> Any:
        """Of every input: arrays of shape (inputs, depth, ..)."""
        return jax.vmap(lambda x: self.net.trace(self.params, x))(self.inputs)

    @functools.cached_property
    def cotangents(self) -> Any:
        """dE/dy, one for all inputs or, where they differ, one for each."""
        if self._cotangent_of is None:
            assert self.key is not None
            return gradients.unit_cotangent(self.net, self.key)
        return self._cotangent_of(jax.vmap(lambda x: self.net.apply(self.params, x))(self.inputs))

    def _over_inputs(self, function: Callable[[Any, Any], Any], each: Any) -> Any:
        """Map a function of something of each input, and of its cotangent."""
        own = None if self._cotangent_of is None else 0
        return jax.vmap(function, in_axes=(0, own))(each, self.cotangents)

    @functools.cached_property
    def log_gradients(self) -> tuple[Array, Array]:
        """ln ||dE/dh_l|| and ln max|dE/dh_l|, each (inputs, depth)."""

        def of_trace(trace, u):
            keep = lambda signal: (gradients.log_norms(signal), signal.log_scale)  # noqa: E731
            return gradients.signal_of_trace(self.net, self.params, trace, u, keep=keep)

        return self._over_inputs(of_trace, self.trace)

    @functools.cached_property
    def log_weight_gradients(self) -> Array:
        """ln ||dE/dW_l|| of every input, (inputs, depth).

        Of one input dE/dW_l = g_l x_{l-1}^T, so that its norm is the product of two norms. g_l is the gradient at
        W_l x_{l-1} + b_l: dE/dh_l without normalisation, and the normalisation's derivative times dE/dh_l with it.
        """

        def keep(signal, layer):
            if layer.deviations is None:
                return gradients.log_norms(signal)
            through = normalization.projected(signal.direction, layer.pre_activations)
            return signal.log_scale + jnp.log(jnp.linalg.norm(through)) + normalization.log_reciprocal(layer.deviations)

        def of_trace(trace, u):
            signals = gradients.signal_of_trace(self.net, self.params, trace, u)
            return jax.vmap(keep)(signals, trace)

        below = jnp.linalg.norm(self.trace.activations[:, :-1], axis=2)
        first = jnp.linalg.norm(self.inputs, axis=1)[:, None]
        return self._over_inputs(of_trace, self.trace) + jnp.log(jnp.concatenate([first, below], axis=1))

    @functools.cached_property
    def log_input_gradients(self) -> Array:
        """Of networks that are no MLP, see :class:`ScanSubject`."""
        raise NotImplementedError

    @functools.cached_property
    def singular_values(self) -> Array:
        """Dense, (inputs, k)."""
        params = self._params_after("log_singular_values")
        return jax.vmap(lambda x: jacobians.singular_values(self.net, params, x))(self.inputs[: self._few])

    @functools.cached_property
    def log_singular_values(self) -> Array:
        """(inputs, k), with the care that an estimate of errors brings if it has been asked for before."""
        if "log_singular_values_and_errors" in vars(self):
            return self.log_singular_values_and_errors[0]
        params = self._params_after("singular_values")
        return jax.vmap(lambda x: jacobians.log_singular_values(self.net, params, x))(self.inputs[: self._few])

    @functools.cached_property
    def log_singular_values_and_errors(self) -> tuple[Array, Array]:
        """Two arrays (inputs, k)."""
        params = self._params_after("singular_values")
        both = lambda x: jacobians.log_singular_values(self.net, params, x, with_error=True)  # noqa: E731
        return jax.vmap(both)(self.inputs[: self._few])

    @functools.cached_property
    def log_singular_values_of_every_depth(self) -> Array:
        """(inputs, depth, k)"""
        every = lambda x: jacobians.log_singular_values(self.net, self.params, x, every_depth=True)  # noqa: E731
        return jax.vmap(every)(self.inputs)

    @property
    def larger_side(self) -> int:
        """The larger side of the Jacobian."""
        return max(self.net.output_width, self.net.input_width)

    def _params_after(self, other: str) -> Any:
        """The parameters, made only after that property if it is known already (see ``linalg.lapack``)."""
        if other not in vars(self):
            return self.params
        leaves, structure = jax.tree.flatten(self.params)
        return jax.tree.unflatten(structure, [after(vars(self)[other], leaves[0]), *leaves[1:]])


class ScanSubject(Subject):
    """A network of any kind looked at, through its scan: the layers are its steps, and the signal is that of the carry."""

    @functools.cached_property
    def cotangents(self) -> Any:
        if self._cotangent_of is not None:
            return super().cotangents
        assert self.key is not None
        output = jax.eval_shape(self.net.apply, self.params, self.inputs[0])
        return by_scan.drawn_cotangent(self.key, output)

    @functools.cached_property
    def log_gradients(self) -> tuple[Array, Array]:
        """ln ||dE/dc_t||, c_t the carry after step t = 1 .. T, (inputs, T), twice: the largest entry is not known."""

        def of_input(x, u):
            return by_scan.state_log_gradient_norms(self.net, self.params, x, u)[1:]

        norms = self._over_inputs(of_input, self.inputs)
        return norms, norms

    @functools.cached_property
    def log_input_gradients(self) -> Array:
        """ln ||dE/d xs_t||, of what step t = 1 .. T reads, (inputs, T)."""

        def of_input(x, u):
            return by_scan.state_log_input_gradient_norms(self.net, self.params, x, u)

        return self._over_inputs(of_input, self.inputs)

    @property
    def larger_side(self) -> int:
        return int(self.singular_values.shape[-1])


def subject_of(net: Any, key: Array | None, x: Any, params: Any = None, **more: Any) -> Subject:
    """Return what is looked at; arguments as of :class:`Subject`."""
    return (Subject if isinstance(net, MLP) else ScanSubject)(net, key, x, params, **more)


def root_mean_square_of_logs(logs: Array) -> Array:
    """Return ln of the root mean square over the first axis, of values given as logarithms."""
    if len(logs) == 1:
        return logs[0]
    return (jax.nn.logsumexp(2 * logs, axis=0) - float(np.log(len(logs)))) / 2
