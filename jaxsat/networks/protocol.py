"""What a network is: a frozen dataclass that is a pytree, with three methods.

    init(key) -> params                      draws the parameters of one network
    apply(params, x) -> y                    the output for one input
    scan(params, x) -> (step, carry, xs)     the same computation as a loop: step(carry, x) -> carry, over xs

A deep network is a loop over its layers, a recurrent one over time. ``scan`` has the conventions of ``jax.lax.scan``, but
`step` returns the new carry only. Its last carry is the state before any read-out:

    apply(params, x) = read_out(params, last carry)

Without a method ``read_out`` the output is the last carry itself. Swept fields (scales) are leaves of the pytree: all
their values share one compiled program. All other fields are static. ``as_network`` makes such a class of yours.

A network may bring more, and then gets more:

    input_shape                  shape of one input: inputs are drawn where none is given, and batches are recognised
    trace(params, x)             an object with `pre_activations` (layer, width): measures of saturation, which also read
                                 the field or property `activation`
    scan_axis                    "time" where the loop runs over time; "layer" (the default) names its axis in datasets
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxsat import addresses, checks

ScanStep = Callable[[Any, Any], Any]

METHODS = ("init", "apply", "scan")
_EXAMPLE = "jaxsat.MLP(depth=8, width=64)"
_REMEDIES = {
    "weights": "For weights that you have: net.params(layers) of an MLP makes parameters of them, and "
    "jaxsat.spectrum.log_singular_values_of_product(weights) takes them as they are.",
    "function": "For a function: jaxsat.spectrum.largest_singular_values(fn, x, k), or, written as a step, "
    "jaxsat.log_singular_values_of_scan(step, carry, xs).",
    "class": "Make one of it: call the class with its sizes.",
    "tree": "Decorate its class with jaxsat.networks.as_network.",
}


@runtime_checkable
class Network(Protocol):
    """What every network has; see the module.

    ``apply`` is not listed, because a type checker cannot see it in a class to which ``as_network`` adds it.
    """

    def init(self, key: Any, /) -> Any:
        """Draw the parameters of one network, a pytree of arrays."""
        ...

    def scan(self, params: Any, x: Any, /) -> tuple[ScanStep, Any, Any]:
        """Return the step, the first carry and what is scanned over: `step(carry, x) -> carry`."""
        ...


def check_network(where: str, net: Any, needs: tuple[str, ...] = METHODS) -> None:
    """Raise unless `net` is a network with the methods that are needed.

    Raises:
        TypeError: something else, with what to use instead; a class that is no pytree.
    """
    rule = f"be a network, as {_EXAMPLE}"
    if isinstance(net, type):
        raise TypeError(
            checks.refusal(where, "net", rule, checks.Shown(f"the class {net.__name__}"), _REMEDIES["class"])
        )
    if isinstance(net, (list, tuple, dict, np.ndarray, jax.Array)):
        came = checks.Shown(type(net).__name__)
        raise TypeError(checks.refusal(where, "net", rule, came, _REMEDIES["weights"]))
    if callable(net) and not any(hasattr(net, name) for name in METHODS):
        came = checks.Shown("a function" if hasattr(net, "__name__") else type(net).__name__)
        raise TypeError(checks.refusal(where, "net", rule, came, _REMEDIES["function"]))
    missing = [name for name in needs if not callable(getattr(net, name, None))]
    if missing:
        came = checks.Shown(f"{type(net).__name__}, which has no `{missing[0]}`")
        remedy = "A network has init(key), apply(params, x) and scan(params, x): see docs/your_own_network.md."
        raise TypeError(checks.refusal(where, "net", rule, came, remedy if missing != [*needs] else ""))
    if not dataclasses.is_dataclass(net) or jax.tree_util.all_leaves([net]):
        what = "be a dataclass that is a pytree"
        raise TypeError(checks.refusal(where, "net", what, checks.Shown(type(net).__name__), _REMEDIES["tree"]))


def wrong_params(where: str, params: Any, rule: str, remedy: str = "") -> TypeError:
    """Return the error about parameters that are not the network's. An array in their place may be the input."""
    came = checks.Shown(type(params).__name__)
    if hasattr(params, "shape"):
        came = checks.Shown(f"an array of shape {params.shape}")
        remedy = f"The order is (net, params, x): if that is the input, `params` and `x` are swapped. {remedy}".rstrip()
    return TypeError(checks.refusal(where, "params", rule, came, remedy))


def check_leaves(where: str, params: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless arrays of parameters are floating-point and have the shapes of the network.

    A tuple of arrays passes: weights that are trained layer by layer.
    """
    for name, shape in shapes.items():
        leaf = getattr(params, name)
        if isinstance(leaf, tuple):
            continue
        dtype, own = getattr(leaf, "dtype", None), getattr(leaf, "shape", None)
        if own != shape or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            rule = f"have floating-point numbers of shape {shape} as `{name}`"
            came = checks.Shown(type(leaf).__name__ if dtype is None else f"dtype {dtype} and shape {own}")
            raise ValueError(
                checks.refusal(where, "params", rule, came, "Parameters are those of the network that drew them.")
            )


def checked_input(net: Any, params: Any, x: Any) -> Any:
    """Return the input of a network in the dtype of its parameters; raise where the network knows that they do not fit."""
    return net.checked(params, x) if hasattr(net, "checked") else x


def check_held(where: str, weights: int) -> None:
    """Raise unless the memory of this machine can hold this number of weights.

    Raises:
        ValueError: more; JAX would end the process.
    """
    size = weights * jnp.dtype(jnp.result_type(float)).itemsize
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        rule = f"have weights that the memory of {memory / 2**30:.0f} GiB can hold"
        raise ValueError(checks.refusal(where, "", rule, checks.Shown(f"{size / 2**30:.3g} GiB")))


def swept_fields(net: Any) -> tuple[str, ...]:
    """Return the names of the fields that are arrays to a compiled program, in their order.

    >>> from jaxsat.networks.mlp import MLP
    >>> swept_fields(MLP(depth=2, width=3))
    ('weight_scale', 'bias_scale', 'residual_scale')
    """
    children, _ = jax.tree_util.tree_flatten_with_path(net, is_leaf=lambda v: v is not net)
    leaves = {path[0].name for path, _ in children if isinstance(path[0], jax.tree_util.GetAttrKey)}
    return tuple(field.name for field in dataclasses.fields(net) if field.name in leaves)


def static_fields(net: Any) -> tuple[str, ...]:
    """Return the names of the fields of which each value is another compiled program."""
    swept = swept_fields(net)
    return tuple(field.name for field in dataclasses.fields(net) if field.name not in swept)


def with_swept(net: Any, columns: Mapping[str, Any]) -> Any:
    """Return the network with other values of swept fields, arrays or tracers. The class does not check them."""
    swept = swept_fields(net)
    if unknown := [name for name in columns if name not in swept]:
        raise ValueError(checks.refusal(type(net).__name__, unknown[0], "be a swept field", columns[unknown[0]]))
    changed = object.__new__(type(net))
    for field in dataclasses.fields(net):
        object.__setattr__(changed, field.name, columns.get(field.name, getattr(net, field.name)))
    return changed


def weight_count(net: Any) -> int:
    """Return how many numbers the parameters hold."""
    return net.weights if hasattr(net, "weights") else _weight_count(jax.tree.structure(net))


@functools.lru_cache(maxsize=256)
def _weight_count(structure: Any) -> int:
    drawn = jax.eval_shape(lambda: any_of(structure).init(addresses.root(0)))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(drawn))


def any_of(structure: Any) -> Any:
    """Return a network of this structure of a pytree: static fields and all, with 1 for every swept number."""
    return jax.tree.unflatten(structure, [1.0] * structure.num_leaves)


def shape_of_input(where: str, net: Any) -> tuple[int, ...]:
    """Return the shape of one input of a network.

    Raises:
        ValueError: a network without `input_shape`.
    """
    shape = getattr(net, "input_shape", None)
    if shape is None:
        came = checks.Shown(f"None for {type(net).__name__}, which has no `input_shape`")
        remedy = "Give x, or add a property `input_shape` to the class."
        raise ValueError(checks.refusal(where, "x", "be given", came, remedy))
    return tuple(shape)


def gaussian_input(net: Any, key: Key[Array, ""]) -> Float[Array, ...]:
    """Draw the input that is used where none is given: gaussian directions with mean square exactly 1.

    A sequence, of shape (steps, inputs), has this mean square at each step. Each step draws from its own address, so the
    first steps of a long sequence are the short sequence.
    """
    check_network("gaussian_input", net)
    shape = shape_of_input("gaussian_input", net)
    key = jax.random.fold_in(checks.random_key("gaussian_input", "key", key), addresses.INPUT)

    def drawn(key: Array, shape: tuple[int, ...]) -> Array:
        z = jax.random.normal(key, shape)
        return z * jax.lax.rsqrt(jnp.mean(z * z))

    if len(shape) < 2:
        return drawn(key, shape)
    keys = jax.vmap(lambda step: jax.random.fold_in(key, step))(jnp.arange(shape[0]))
    return jax.vmap(lambda key: drawn(key, shape[1:]))(keys)


def last_carry(net: Any, params: Any, x: Any) -> Any:
    """Return the carry after the last step of the scan."""
    step, carry, xs = net.scan(params, x)
    return jax.lax.scan(lambda carry, x: (step(carry, x), None), carry, xs)[0]


def output_of_carry(net: Any, params: Any, carry: Any) -> Any:
    """Return the output of a network whose scan has ended with this carry."""
    return net.read_out(params, carry) if hasattr(net, "read_out") else carry


@jax.jit  # compiled once for a kind of network: the step is another function object each time
def applied(net: Any, params: Any, x: Any) -> Any:
    """Return the output of a network by its scan: the last carry, read out."""
    return output_of_carry(net, params, last_carry(net, params, x))
