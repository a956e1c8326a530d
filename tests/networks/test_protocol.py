"""What is a network and what is not; classes of a user's own; weights that exist already."""

import dataclasses

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat import addresses
from jaxsat.networks import as_network, protocol

KEY = addresses.root(3)


@as_network(swept=["scale", "gate"])
class Chain:
    depth: int
    width: int
    scale: float = 1.0
    gate: float | str = 0.0

    def init(self, key):
        return self.scale * jax.random.normal(key, (self.depth, self.width))

    def scan(self, params, x):
        return lambda x, w: w * x, x, params


def test_a_class_becomes_a_pytree_of_its_swept_fields():
    net = Chain(3, 2, scale=0.5)
    assert jax.tree.leaves(net) == [0.5, 0.0]
    assert protocol.swept_fields(net) == ("scale", "gate")
    assert protocol.static_fields(net) == ("depth", "width")
    assert jax.tree.unflatten(jax.tree.structure(net), [0.5, 0.0]) == net
    assert protocol.with_swept(net, {"scale": 2.0}) == dataclasses.replace(net, scale=2.0)
    assert jax.tree.leaves(Chain(3, 2, gate="open")) == [1.0]  # a name in place of a number is static
    assert jax.tree.structure(Chain(3, 2, gate="open")) != jax.tree.structure(net)
    w = net.init(KEY)
    np.testing.assert_allclose(jax.jit(lambda net, w: net.apply(w, jnp.ones(2)))(net, w), np.prod(w, axis=0))
    assert protocol.weight_count(net) == 6
    assert isinstance(net, jaxsat.networks.Network)


def test_fields_that_are_neither_swept_nor_static():
    with pytest.raises(
        TypeError, match=r"Chain: `depth` must have a hash, because it is static.*got a list. Use a tuple"
    ):
        Chain([1, 2], 2)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"Chain: `scale` must be a finite number, because it is swept"):
        Chain(1, 2, scale=float("nan"))
    with pytest.raises(
        ValueError, match=r"as_network: `swept` must name fields of Bad; got 'scael'. Did you mean 'scale'"
    ):

        @as_network(swept=["scael"])
        class Bad:
            scale: float

            def init(self, key): ...
            def scan(self, params, x): ...

    with pytest.raises(
        TypeError, match=r"as_network: must decorate a class with init and scan; got Worse, which has no `scan`"
    ):

        @as_network()
        class Worse:
            def init(self, key): ...


class Plain:
    init = apply = scan = lambda self, *arguments: None


@pytest.mark.parametrize(
    ("net", "said"),
    [
        ([np.eye(2)], r"got list. For weights that you have: net.params\(layers\).*log_singular_values_of_product"),
        ({"w": np.eye(2)}, "got dict. For weights that you have"),
        (np.eye(2), "got ndarray. For weights that you have"),
        (lambda x: x, r"got a function. For a function: .*largest_singular_values.*log_singular_values_of_scan"),
        (Chain, "got the class Chain. Make one of it"),
        ("net", r"`net` must be a network, as jaxsat.MLP\(depth=8, width=64\); got str"),
        (Plain(), "be a dataclass that is a pytree; got Plain. Decorate its class with jaxsat.networks.as_network"),
    ],
)
def test_what_is_no_network_is_told_where_to_go(net, said):
    with pytest.raises(TypeError, match=said):
        protocol.check_network("f", net)


def test_a_missing_method_is_named():
    class Half:
        init = apply = lambda self, *arguments: None

    with pytest.raises(
        TypeError, match=r"f: `net` must be a network.*got Half, which has no `scan`. A network has init"
    ):
        protocol.check_network("f", Half())


def test_weights_of_other_libraries_give_the_same_outputs():
    net = jaxsat.MLP(depth=3, width=4, activation="relu", inputs=3, outputs=2, weight_scale=7.0)  # scales do not matter
    x = jnp.linspace(-1.0, 1.0, 3, dtype=jnp.float32)

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            for _ in range(3):
                x = nn.relu(nn.Dense(4, bias_init=nn.initializers.normal(1.0))(x))
            return nn.Dense(2)(x)

    tree = Model().init(jax.random.key(0), x)["params"]
    layers = [(tree[f"Dense_{i}"]["kernel"], tree[f"Dense_{i}"]["bias"]) for i in range(4)]
    flax = np.asarray(Model().apply({"params": tree}, x))
    np.testing.assert_allclose(net.apply(net.params(layers, layout="x @ w"), x), flax, rtol=1e-6)
    model = eqx.nn.MLP(3, 2, 4, 3, dtype=jnp.float32, key=jax.random.key(0))
    layers = [(layer.weight, layer.bias) for layer in model.layers]
    np.testing.assert_allclose(net.apply(net.params(layers, layout="w @ x"), x), model(x), rtol=1e-6)
    assert net.params([w for w, _ in layers], layout="w @ x").biases.tolist() == np.zeros((3, 4)).tolist()


def _shapes(*shapes):
    return [(np.ones(shape), np.zeros(shape[0])) for shape in shapes]


@pytest.mark.parametrize(
    ("layers", "layout", "error", "said"),
    [
        (_shapes((4, 3), (4, 4)), "w @ x", ValueError, r"must have 3 layers \(2 of depth, and a read-out\); got 2"),
        (_shapes((4, 3), (4, 4), (2, 4)), "w@x", ValueError, "`layout` must say how a weight w acts; got 'w@x'. Did you"),
        (_shapes((3, 4), (4, 4), (2, 4)), "w @ x", ValueError, r"`layers\[0\]` must have a weight of shape \(4, 3\).*'x @ w'\?"),
        (_shapes((4, 3), (5, 4), (2, 4)), "w @ x", ValueError, r"`layers\[1\]` must have a weight of shape \(4, 4\).*got \(5, 4\)"),
        ([(np.ones((4, 3)), np.zeros(3)), *_shapes((4, 4), (2, 4))], "w @ x", ValueError, r"bias of shape \(4,\); got \(3,\)"),
        ([(np.ones((4, 3), int), None), *_shapes((4, 4), (2, 4))], "w @ x", TypeError, "floating-point numbers; got dtype int"),
        ([object(), *_shapes((4, 4), (2, 4))], "w @ x", TypeError, r"a pair \(weight, bias\) of arrays; got object"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit(layers, layout, error, said):
    with pytest.raises(error, match=said):
        jaxsat.MLP(depth=2, width=4, inputs=3, outputs=2).params(layers, layout=layout)
