"""The catalogue of what is recorded of a network in training: named, labelled functions of one :class:`Snapshot`."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxsat.measures import Variable, gradients, saturation
from jaxsat.measures.jacobians import log_singular_values
from jaxsat.networks import normalization
from jaxsat.networks.mlp import MLP
from jaxsat.networks.parameters import Params, Trace

PERCENTILES = (2.0, 50.0, 98.0)
BINS = 40  # of histograms of activations, over the range of the activation
JACOBIANS = 4  # inputs whose Jacobian is looked at: each costs a decomposition of a product

Batch = tuple[Array, Array]


class Snapshot:
    """One network at one moment, and the data: what several records need is computed once."""

    def __init__(self, net: MLP, params: Params, update_ratio: Array, train: Batch, test: Batch | None, probe: Batch):
        self.net, self.params, self.update_ratio = net, params, update_ratio
        self.train, self.test, self.probe = train, test, probe

    @functools.cached_property
    def on_train(self) -> tuple[Array, Array]:
        return loss_and_accuracy(self.net, self.params, *self.train)

    @functools.cached_property
    def on_test(self) -> tuple[Array, Array]:
        assert self.test is not None
        return loss_and_accuracy(self.net, self.params, *self.test)

    @functools.cached_property
    def trace(self) -> Trace:
        """Of every probe input: arrays of shape (probe, depth, ..)."""
        return jax.vmap(lambda x: self.net.trace(self.params, x))(self.probe[0])

    @functools.cached_property
    def signals(self) -> gradients.Signal:
        """dE/dh_l of each probe example's own loss E: directions (probe, depth, width), log scales (probe, depth)."""
        outputs = jax.vmap(lambda x: self.net.apply(self.params, x))(self.probe[0])
        wanted = jax.nn.one_hot(self.probe[1], outputs.shape[1], dtype=outputs.dtype)

        def of_example(trace, cotangent):
            return gradients.signal_of_trace(self.net, self.params, trace, cotangent)

        return jax.vmap(of_example)(self.trace, jax.nn.softmax(outputs) - wanted)

    @functools.cached_property
    def log_signal_norms(self) -> Array:
        """ln ||dE/dh_l||, (probe, depth)."""
        return gradients.log_norms(self.signals)

    @functools.cached_property
    def log_gradient_norm(self) -> Array:
        return _log_root_mean_square(self.log_signal_norms)

    @functools.cached_property
    def log_weight_gradient_norm(self) -> Array:
        """ln ||dE/dW_l|| of single examples, root mean square over them.

        Of one example dE/dW_l = g_l x_{l-1}^T, so that its norm is the product of two norms. g_l is the gradient at
        W_l x_{l-1} + b_l: dE/dh_l without normalisation, and the normalisation's derivative times dE/dh_l with it.
        """
        below = [
            jnp.linalg.norm(self.probe[0], axis=1)[:, None],
            jnp.linalg.norm(self.trace.activations[:, :-1], axis=2),
        ]
        return _log_root_mean_square(self.log_affine_norms + jnp.log(jnp.concatenate(below, axis=1)))

    @functools.cached_property
    def log_affine_norms(self) -> Array:
        """ln of the norm of the gradient at W_l x_{l-1} + b_l, before any normalisation, (probe, depth)."""
        deviations = self.trace.deviations
        if deviations is None:
            return self.log_signal_norms

        def of_layer(direction, log_scale, h, deviation):
            through = gradients.Signal(normalization.projected(direction, h), log_scale)
            return _log_norm(through) + normalization.log_reciprocal(deviation)

        signals, h = self.signals, self.trace.pre_activations
        return jax.vmap(jax.vmap(of_layer))(signals.direction, signals.log_scale, h, deviations)

    @functools.cached_property
    def log_singular_values(self) -> Array:
        few = self.probe[0][:JACOBIANS]
        return jnp.mean(jax.vmap(lambda x: log_singular_values(self.net, self.params, x))(few), axis=0)


def _log_norm(signal: gradients.Signal) -> Array:
    """Return ln of the norm of one layer's signal whose largest entry may be below 1."""
    size = jnp.linalg.norm(signal.direction)
    return signal.log_scale + jnp.log(size)


def _log_root_mean_square(logs: Array) -> Array:
    """Over examples, the first axis."""
    return (jax.nn.logsumexp(2 * logs, axis=0) - float(np.log(len(logs)))) / 2


def losses(
    net: MLP, params: Params, x: Float[Array, "example inputs"], y: Int[Array, " example"]
) -> tuple[Float[Array, " example"], Float[Array, "example outputs"]]:
    """Return the softmax cross-entropy of each example, in nats, and the outputs."""
    outputs = jax.vmap(lambda one: net.apply(params, one))(x)
    return -jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], axis=1)[:, 0], outputs


def loss_and_accuracy(net: MLP, params: Params, x: Array, y: Array) -> tuple[Array, Array]:
    """Mean over examples of the loss and of being right."""
    loss, outputs = losses(net, params, x, y)
    return jnp.mean(loss), jnp.mean(jnp.argmax(outputs, axis=1).astype(y.dtype) == y, dtype=loss.dtype)


@dataclasses.dataclass(frozen=True)
class Record:
    """One recorded array: its labels, and how it is found in a snapshot."""

    variable: Variable
    of: Callable[[Snapshot], Array]


def names() -> tuple[str, ...]:
    """What can be recorded.

    >>> "update_ratio" in names()
    True
    """
    return tuple(_CATALOGUE)


def get(record: Sequence[str] | str | None, tested: bool) -> dict[str, Record]:
    """Records by name; None gives those that are cheap and defined for every activation.

    Raises:
        ValueError: unknown names, none, those of test data where there are none.

    >>> list(get(["loss", "dead_fraction"], tested=False))
    ['loss', 'dead_fraction']
    """
    if record is None:
        return {n: _CATALOGUE[n] for n in _DEFAULT if tested or not n.startswith("test_")}
    asked = [record] if isinstance(record, str) else list(record)
    if not asked:
        raise ValueError(f"train: `record` must name at least one of {', '.join(_CATALOGUE)}; got none.")
    for name in asked:
        if name not in _CATALOGUE:
            near = difflib.get_close_matches(str(name), _CATALOGUE, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(_CATALOGUE)}."
            raise ValueError(f"train: `record` must be known names; got {name!r}. {hint}")
        if name.startswith("test_") and not tested:
            raise ValueError(f"train: `record`: {name!r} needs `test` data; got none. Pass test=(x, y).")
    return {name: _CATALOGUE[name] for name in asked}


def _per_layer(long_name: str, of_layer: Callable[[Any, Array], Array], part: str = "pre_activations") -> Record:
    """Of one layer's (probe, width) array, at every layer."""

    def of(snapshot):
        arrays = getattr(snapshot.trace, part)
        return jax.vmap(lambda a: of_layer(snapshot.net.phi, a), in_axes=1)(arrays)

    return Record(Variable(("layer",), f"{long_name}, over units and probe examples"), of)


def _percentiles(what: str, part: str) -> Record:
    record = _per_layer(
        f"percentiles of {what}", lambda phi, a: saturation.activation_percentiles(a, PERCENTILES), part
    )
    labels = Variable(("layer", "percentile"), record.variable.long_name, coordinates={"percentile": PERCENTILES})
    return Record(labels, record.of)


def _histogram() -> Record:
    record = _per_layer(
        f"share of activations in each of {BINS} parts of their range",
        lambda phi, h: saturation.activation_histogram(phi, h, BINS),
    )
    centres = [(i + 0.5) / BINS for i in range(BINS)]
    return Record(Variable(("layer", "place"), record.variable.long_name, coordinates={"place": centres}), record.of)


def _off_units() -> Record:
    record = _per_layer("units without a pre-activation above 0", lambda phi, h: saturation.off_units(h))
    return Record(Variable(("layer", "unit"), "whether a unit is never above 0, over probe examples"), record.of)


_CATALOGUE: dict[str, Record] = {
    "loss": Record(Variable((), "cross-entropy on the training data", "nat"), lambda s: s.on_train[0]),
    "accuracy": Record(Variable((), "accuracy on the training data"), lambda s: s.on_train[1]),
    "test_loss": Record(Variable((), "cross-entropy on the test data", "nat"), lambda s: s.on_test[0]),
    "test_accuracy": Record(Variable((), "accuracy on the test data"), lambda s: s.on_test[1]),
    "saturated_fraction": _per_layer(
        "share of slopes at most 5 % of the largest", lambda phi, h: saturation.saturated_fraction(phi, h)
    ),
    "dead_fraction": _per_layer("share of units with slope 0 for every input", saturation.dead_fraction),
    "always_saturated_fraction": _per_layer(
        "share of units with slope at most 5 % of the largest for every input",
        lambda phi, h: saturation.always_saturated_fraction(phi, h),
    ),
    "boundary_measure": _per_layer(
        "boundary measure of saturation, 10 bins", lambda phi, h: saturation.boundary_measure(phi, h)
    ),
    "pre_activation_std": _per_layer("standard deviation of pre-activations", lambda phi, h: jnp.std(h)),
    "pre_activation_percentiles": _percentiles("pre-activations", "pre_activations"),
    "activation_mean": _per_layer("mean of activations", lambda phi, a: jnp.mean(a), "activations"),
    "activation_std": _per_layer("standard deviation of activations", lambda phi, a: jnp.std(a), "activations"),
    "activation_percentiles": _percentiles("activations", "activations"),
    "activation_histogram": _histogram(),
    "off_units": _off_units(),
    "log_gradient_norm": Record(
        Variable(("layer",), "ln ||dE/dh_l||, root mean square over probe examples"), lambda s: s.log_gradient_norm
    ),
    "gradient_norm": Record(
        Variable(("layer",), "||dE/dh_l||, root mean square over probe examples; 0 where it underflows"),
        lambda s: jnp.exp(s.log_gradient_norm),
    ),
    "log_weight_gradient_norm": Record(
        Variable(("layer",), "ln ||dE/dW_l|| of single examples, root mean square over probe examples"),
        lambda s: s.log_weight_gradient_norm,
    ),
    "update_ratio": Record(
        Variable(("layer",), "norm of the last update of W_l over the norm of W_l; NaN before the first"),
        lambda s: s.update_ratio,
    ),
    "log_singular_values": Record(
        Variable(("index",), f"ln of the singular values of dy/dx, descending, mean over {JACOBIANS} probe examples"),
        lambda s: s.log_singular_values,
    ),
}  # fmt: skip
_DEFAULT = (
    "loss", "accuracy", "test_loss", "test_accuracy", "saturated_fraction", "dead_fraction", "log_gradient_norm",
    "gradient_norm", "update_ratio",
)  # fmt: skip
