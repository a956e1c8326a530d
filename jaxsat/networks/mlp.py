"""MLP: what a network is, and init, apply and trace as pure functions of it.

    h_l = sigma_w U_l x_{l-1} + sigma_b v_l,    x_l = phi(h_l),    l = 1 .. depth

U_l and v_l are unit draws (see ``jaxsat.ensembles``); x_0 is the input. A layer can have two remedies against vanishing
gradients: a skip connection, x_l = x_{l-1} + a phi(h_l), and layer normalisation of h_l before phi (see
``normalization``). They can be combined.

Fields that change the compiled program (depth, width, activation, ensemble, outer widths, skip connections,
normalisation) are static. The scales are arrays, so one compiled program serves all of them.

Layer l draws from its own address (see ``jaxsat.addresses``). The first l layers of a network are therefore the network
of depth l, and networks that differ in scale or activation only are compared on the same draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, DTypeLike, Float, Key

from jaxsat import activations, checks
from jaxsat.activations import Activation
from jaxsat.jax_compat import Tracer
from jaxsat.linalg import ensembles
from jaxsat.networks import normalization
from jaxsat.networks.appearance import network_line, network_table
from jaxsat.networks.parameters import DrawChoices, Params, Trace, draw_parameters, params_of_layers
from jaxsat.networks.protocol import check_held, check_leaves, check_network, wrong_params
from jaxsat.networks.registration import register_network

Fan = Literal["in", "average"]


@dataclasses.dataclass(frozen=True)
class MLP:
    """A fully connected network of `depth` nonlinear layers of `width` units.

    Args:
        depth, width: number of layers (each has an activation), units per layer; at least 1.
        activation: a name, a record of ``activations``, or an elementwise callable.
        weight_scale: sigma_w, finite and >= 0: entries have variance sigma_w^2 / n_in. Or a named scale ('lecun',
            'he', 'glorot', 'standard'); 'glorot' also sets ``fan='average'``. An array gives a family of networks
            for ``jax.vmap``.
        bias_scale: sigma_b, finite and >= 0: biases have variance sigma_b^2.
        ensemble: 'gaussian', 'uniform' (same mean and variance) or 'orthogonal'. Biases are gaussian, for 'uniform'
            uniform.
        inputs: width of the input; None means `width`.
        outputs: width of a linear read-out after the last activation; None means there is none.
        fan: variance is divided by n_in ('in') or by (n_in + n_out) / 2 ('average'); they differ only for the first
            layer and the read-out.
        residual_scale: a of x_l = x_{l-1} + a phi(h_l), finite and >= 0. None disables skip connections; 0 keeps them
            but removes the branch (then x_l = x_0). A layer has a skip connection if its input is as wide as its output.
            If `inputs` differs from `width`, the first layer has none: x_1 = phi(h_1).
        normalization: 'layer' subtracts from h_l its mean over the units of the layer and divides by their standard
            deviation (biased; no learned gain or shift; nothing is added to the variance). If all units are equal, as
            for a zero input without biases, they become 0. None disables it.

    An MLP is a pytree: its leaves are the scales, everything else is static. It goes through jit and vmap as it is.

    References: Yang & Schoenholz 2017 (reduced residual networks); Ba, Kiros & Hinton 2016, eq. 3.

    Raises:
        ValueError: sizes below 1, scales that are not finite or negative, unknown names.
        TypeError: sizes that are not integers.

    >>> net = MLP(depth=3, width=5, activation="tanh", weight_scale=1.5, inputs=2)
    >>> params = net.init(jax.random.key(0))
    >>> net.apply(params, jnp.ones(2)).shape, net.trace(params, jnp.ones(2)).pre_activations.shape
    ((5,), (3, 5))
    """

    depth: int
    width: int
    activation: Activation | str | Callable[[Array], Array] = "tanh"
    weight_scale: Any = 1.0
    bias_scale: Any = 0.0
    ensemble: str = "gaussian"
    inputs: int | None = None
    outputs: int | None = None
    fan: str = "in"
    residual_scale: Any = None
    normalization: str | None = None

    def __post_init__(self) -> None:
        for name in ("depth", "width", "inputs", "outputs"):
            optional = name in ("inputs", "outputs")
            size = getattr(self, name)
            if size is not None or not optional:
                object.__setattr__(self, name, checks.size("MLP", name, size))
        object.__setattr__(self, "activation", activations.get(self.activation))
        ensembles.get(self.ensemble)
        checks.one_of("MLP", "fan", self.fan, get_args(Fan))
        if isinstance(self.weight_scale, str):
            if self.weight_scale == "glorot":
                object.__setattr__(self, "fan", "average")
            scale = ensembles.named_scale(self.weight_scale, self.width, self.width)
            object.__setattr__(self, "weight_scale", scale)
        for name in ("weight_scale", "bias_scale"):
            check_scale("MLP", name, getattr(self, name))
        if self.residual_scale is not None:
            check_scale("MLP", "residual_scale", self.residual_scale)
        if self.normalization not in (None, "layer"):
            raise ValueError(checks.refusal("MLP", "normalization", "be None or 'layer'", self.normalization))

    def __repr__(self) -> str:
        return network_line(self)

    def _repr_html_(self) -> str:
        return network_table(self)

    @property
    def first_has_skip(self) -> bool:
        """Whether the first layer, too, has a skip connection."""
        return self.residual_scale is not None and self.input_width == self.width

    @property
    def phi(self) -> Activation:
        """The record of the activation."""
        return activations.get(self.activation)

    @property
    def input_width(self) -> int:
        """Width of the input, n_0."""
        return self.width if self.inputs is None else self.inputs

    @property
    def output_width(self) -> int:
        """Width of the output: that of the read-out, or without one that of the last layer."""
        return self.width if self.outputs is None else self.outputs

    @property
    def input_shape(self) -> tuple[int]:
        """Shape of one input."""
        return (self.input_width,)

    @property
    def weights(self) -> int:
        """How many numbers the parameters hold, but for the scales."""
        layers = self.width * (self.input_width + 1) + (self.depth - 1) * self.width * (self.width + 1)
        return layers + (0 if self.outputs is None else self.outputs * (self.width + 1))

    def init(self, key: Key[Array, ""], dtype: DTypeLike | None = None) -> Params:
        """Draw the parameters of one network.

        Args:
            key: address of the network.
            dtype: of the parameters. They are drawn in the default float dtype and then cast, so that the same network
                can be studied in several precisions.
        """
        check_held("MLP", self.weights)
        params = self.with_scales(draw_parameters(self.draw_choices, checks.random_key("MLP", "key", key)))
        return params if dtype is None else jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    @property
    def draw_choices(self) -> DrawChoices:
        """What decides the draws: networks that agree in it share them, whatever their activations and scales."""
        return DrawChoices(self.depth, self.width, self.input_width, self.outputs, self.ensemble, self.fan)

    def with_scales(self, draws: Params) -> Params:
        """Return the same draws with the scales of this network."""
        dtype = draws.first.dtype
        return draws._replace(
            weight_scale=jnp.asarray(self.weight_scale, dtype),
            bias_scale=jnp.asarray(self.bias_scale, dtype),
            residual_scale=None if self.residual_scale is None else jnp.asarray(self.residual_scale, dtype),
        )

    def apply(
        self, params: Params, x: Float[ArrayLike, " inputs"], shifts: Float[Array, "depth width"] | None = None
    ) -> Float[Array, " outputs"]:
        """Return the output of the network for one input. A batch goes through ``jax.vmap``.

        Args:
            params, x: parameters drawn by :meth:`init`, and the input.
            shifts: numbers that are added to what phi sees, or None. The derivative of a loss with respect to them is
                dE/dh_l.
        """
        (last, _), _ = self._layers(params, self.checked(params, x), shifts)
        return self.read_out(params, last)

    def read_out(self, params: Params, carry: Float[Array, " width"]) -> Float[Array, " outputs"]:
        """Return the output that belongs to the activations of the last layer."""
        if params.readout is None:
            return carry
        assert params.readout_bias is not None
        return _affine(params, params.readout, params.readout_bias, carry)

    def scan(self, params: Params, x: Float[ArrayLike, " inputs"]) -> tuple[Callable[[Any, Any], Any], Any, Any]:
        """Return the network as a loop over layers: ``step(x, (weight, bias)) -> x``, the first x, and what is looped over.

        The first x is the input, if that is as wide as a layer. Otherwise it is x_1, and the loop begins with layer 2.
        The read-out is not part of the loop: ``apply`` is ``read_out(params, last x)``.
        """
        x = self.checked(params, x)
        hidden = jnp.stack(params.hidden) if isinstance(params.hidden, tuple) and params.hidden else params.hidden
        layers = hidden, params.biases[1:]
        if self.input_width == self.width:
            layers = jnp.concatenate([params.first[None], jnp.asarray(hidden)]), params.biases
        else:
            x, _ = self._layer(params, x, (params.first, params.biases[0]), None, None)

        def step(x: Array, layer: tuple[Array, Array]) -> Array:
            return self._layer(params, x, layer, None, params.residual_scale)[0]

        return step, x, layers

    def params(self, layers: Sequence[Any], *, layout: str) -> Params:
        """Return parameters made of weights that you have, for instance those of a trained network.

        Args:
            layers: for each layer from the input on, and for the read-out if there is one: a pair (weight, bias), or a
                weight alone, whose bias is then 0.
            layout: "x @ w" where a weight has shape (n_in, n_out), as in Flax and Keras; "w @ x" where it has shape
                (n_out, n_in), as in PyTorch and Equinox. There is no default: a square matrix does not show which it is.

        Returns: parameters with all scales 1, so that the weights act as they are; the residual scale is this network's.

        Raises:
            ValueError: another number of layers, weights or biases of another shape.
            TypeError: something that is no list of layers.

        >>> net = MLP(depth=1, width=2, activation="relu", inputs=3, outputs=1)
        >>> params = net.params([(jnp.ones((3, 2)), jnp.zeros(2)), jnp.array([[1.0], [-1.0]])], layout="x @ w")
        >>> net.apply(params, jnp.ones(3)).tolist()
        [0.0]
        """
        return params_of_layers(self.draw_choices, layers, layout, self.residual_scale)

    def trace(self, params: Params, x: Float[ArrayLike, " inputs"]) -> Trace:
        """Return the pre-activations and activations of each layer for one input."""
        (_, first), rest = self._layers(params, self.checked(params, x), None)
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)

    def check_parameters(self, params: Params) -> None:
        """Raise unless these are parameters of this network."""
        check_params("MLP", params)
        if (params.residual_scale is None) != (self.residual_scale is None):
            rule = "have a residual scale where the network has one, and none where it has none"
            came = checks.Shown(f"{params.residual_scale} for a network with {self.residual_scale}")
            remedy = "Use params._replace(residual_scale=...)."
            raise ValueError(checks.refusal("MLP", "params", rule, came, remedy))
        n, between = self.width, self.depth - 1
        shapes = {"first": (n, self.input_width), "hidden": (between, n, n), "biases": (self.depth, n)}
        shapes |= {} if self.outputs is None else {"readout": (self.outputs, n), "readout_bias": (self.outputs,)}
        check_leaves("MLP", params, shapes)

    def checked(self, params: Params, x: ArrayLike) -> Array:
        """Return the input in the dtype of the parameters; raise unless both belong to the network."""
        self.check_parameters(params)
        given = checks.real_array("MLP", "x", x)
        if given.shape != (self.input_width,):
            rule = f"be one input of shape ({self.input_width},)"
            remedy = "Use jax.vmap for a batch, or set `inputs`."
            raise ValueError(checks.refusal("MLP", "x", rule, checks.Shown(given.shape), remedy))
        return given.astype(params.first.dtype)

    @jax.jit
    def _layers(self, params: Params, x: Array, shifts: Array | None) -> tuple[tuple[Array, Trace], Trace]:
        below, above = (None, None) if shifts is None else (shifts[0], shifts[1:])
        a = params.residual_scale
        first_a = a if self.first_has_skip else None
        x, first = self._layer(params, x, (params.first, params.biases[0]), below, first_a)
        if isinstance(params.hidden, tuple):  # written out: a loop would copy every matrix and every gradient
            traces = []
            for index, weight in enumerate(params.hidden):
                shift = None if above is None else above[index]
                x, trace = self._layer(params, x, (weight, params.biases[index + 1]), shift, a)
                traces.append(trace)
            empty = jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), first)
            return (x, first), jax.tree.map(lambda *leaves: jnp.stack(leaves), *traces) if traces else empty
        layers = ((params.hidden, params.biases[1:]), above)
        x, rest = jax.lax.scan(lambda x, inputs: self._layer(params, x, *inputs, a), x, layers)
        return (x, first), rest

    def _layer(
        self, params: Params, x: Array, weights: tuple[Array, Array], shift: Array | None, a: Array | None
    ) -> tuple[Array, Trace]:
        """Return what one layer makes of x, and its trace; `a` is the residual scale where it has a skip connection."""
        h, deviation = _affine(params, *weights, x), None
        if self.normalization is not None:
            h, deviation = normalization.layer_normalized(h)
        if shift is not None:
            h = h + shift
        x = self.phi(h) if a is None else x + a * self.phi(h)
        return x, Trace(h, x, deviation)


def _affine(params: Params, weight: Array, bias: Array, x: Array) -> Array:
    # Under vmap over scales the draw stays unbatched and this is one wide product; scaling comes after it.
    return params.weight_scale * jnp.einsum("i,oi->o", x, weight) + params.bias_scale * bias


TRACED_FIELDS = ("weight_scale", "bias_scale", "residual_scale")
STATIC_FIELDS = tuple(field.name for field in dataclasses.fields(MLP) if field.name not in TRACED_FIELDS)
register_network(MLP, TRACED_FIELDS)


def check_net(where: str, net: Any) -> None:
    """Raise unless `net` is an MLP."""
    if not isinstance(net, MLP):
        check_network(where, net)  # says what to use instead of a list, a function, a class
        came = checks.Shown(type(net).__name__)
        remedy = "Other networks: log_singular_values, log_gradient_norms, jacobian."
        raise TypeError(checks.refusal(where, "net", "be an MLP, as jaxsat.MLP(depth=8, width=64)", came, remedy))


def check_params(where: str, params: Any) -> None:
    """Raise unless these are parameters of an MLP."""
    if not isinstance(params, Params):
        remedy = (
            "net.params(layers, layout=...) makes them of weights that you have; "
            "jaxsat.spectrum.log_singular_values_of_product(weights) takes a list of matrices as it is."
        )
        raise wrong_params(where, params, "be made by init, or by net.params", remedy)


def check_scale(where: str, name: str, value: Any) -> None:
    """Raise unless a scale is finite and >= 0; tracers pass."""
    if isinstance(value, Tracer):
        return
    numbers = checks.real_numbers(where, name, value)
    if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
        raise ValueError(checks.refusal(where, name, "be finite and at least 0", checks.Shown(value)))
