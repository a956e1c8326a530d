"""Names, aliases and factories give the same record for the same activation."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import activations


@pytest.mark.parametrize("name", activations.names())
def test_get_returns_the_same_record(name):
    record = activations.get(name)
    assert record.name == name
    assert activations.get(name) is record
    assert activations.get(record) is record
    assert {record: 1}[activations.get(name)] == 1
    assert not record.derived


@pytest.mark.parametrize(
    ("alias", "name"),
    [("linear", "identity"), ("logistic", "sigmoid"), ("soft_sign", "softsign"), ("swish", "silu"),
     ("hard_swish", "hard_silu")],
)  # fmt: skip
def test_aliases(alias, name):
    assert activations.get(alias) is activations.get(name)
    assert alias not in activations.names()


def test_unknown_names():
    with pytest.raises(ValueError, match=r"must be a name of the catalogue; got 'sigmod'\. Did you mean 'sigmoid'"):
        activations.get("sigmod")
    with pytest.raises(ValueError, match=r"got 'hard_swich'\. Did you mean 'hard_swish'"):
        activations.get("hard_swich")
    with pytest.raises(ValueError, match=r"got 'qqqqqq'\. See jaxsat\.activations\.names\(\)"):
        activations.get("qqqqqq")


@pytest.mark.parametrize("wrong", [3, None, 0.5, ["tanh"]])
def test_wrong_type(wrong):
    with pytest.raises(TypeError, match="must be a name, an Activation or a callable; got " + type(wrong).__name__):
        inspect.unwrap(activations.get)(wrong)


def test_records_are_static_arguments():
    """The same name compiles once: by record, by name, by factory."""
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def apply(record, x):
        traces.append(record.name)
        return record(x)

    for _ in range(3):
        apply(activations.get("tanh"), jnp.ones(3))
        apply(activations.leaky_relu(0.2), jnp.ones(3))
        apply(activations.elu(0.5), jnp.ones(3))
        apply(activations.get(jnp.cos), jnp.ones(3))
    assert traces == ["tanh", "leaky_relu(0.2)", "elu(0.5)", "cos"]


@pytest.mark.parametrize(
    ("factory", "default"),
    [(activations.leaky_relu, 0.01), (activations.elu, 1.0), (activations.celu, 1.0)],
    ids=["leaky_relu", "elu", "celu"],
)
def test_factories_are_cached(factory, default):
    """The same number gives the same record, however it is written: each new record recompiles."""
    keyword = "negative_slope" if factory is activations.leaky_relu else "alpha"
    assert factory(0.25) is factory(0.25)
    assert factory(0.25) is not factory(0.26)
    assert factory(0.25) is factory(**{keyword: 0.25})
    assert factory() is factory(default)
    assert factory() is activations.get(factory.__name__)
    assert factory(0.25).name == f"{factory.__name__}(0.25)"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_factories_check_their_parameter(bad):
    for factory in (activations.elu, activations.celu):
        with pytest.raises(
            ValueError, match=rf"{factory.__name__}: `alpha` must be a finite number and above 0; got {bad}"
        ):
            factory(bad)
    if not np.isfinite(bad):
        with pytest.raises(ValueError, match=rf"leaky_relu: `negative_slope` must be a finite number; got {bad}"):
            activations.leaky_relu(bad)
