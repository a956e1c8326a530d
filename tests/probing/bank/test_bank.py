"""Every model of the bank: nothing is found in the healthy ones, and each planted fault is named with its place or cause."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import jaxsat
from tests.probing.bank import libraries, plain
from tests.probing.bank.case import MODELS

assert {libraries.__name__, plain.__name__} == {build.build.__module__ for build in MODELS.values()}  # both are read
QUICK = {("cnn", None), ("cnn", "biases at -10")}
CASES = [(name, fault) for name, model in MODELS.items() for fault in (None, *model.faults)]


@pytest.fixture(autouse=True)
def _as_people_run_them():
    """Libraries are not written for strict promotion of dtypes and ranks, and train in float32."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(
            name, fault, id=f"{name}: {fault.name if fault else 'healthy'}",
            marks=() if (name, fault and fault.name) in QUICK else pytest.mark.slow,
        )
        for name, fault in CASES
    ],
)  # fmt: skip
def test_a_report_names_what_is_wrong_and_nothing_else(name, fault):
    fn, args = MODELS[name].build(fault and fault.name)
    report = jaxsat.probe(fn, *args)
    codes = {finding.code for finding in report.findings}
    said = "\n".join([*(f"{f.message} {f.cause} {f.advice}" for f in report.findings), *report.notes])
    if fault is None:
        assert not report.findings, str(report)
        return
    assert codes & set(fault.codes) if fault.codes else not codes, str(report)
    assert fault.said in said, str(report)


TRAINED = (
    "cnn",
    "sigmoid_mlp",
    "residual",
    "gru",
    "equinox_mlp",
    "variational_autoencoder",
    "actor_critic",
    "transformer",
)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "cnn" else pytest.mark.slow) for n in TRAINED])
def test_nothing_is_found_in_a_healthy_model_after_training(name):
    fn, (params, *rest) = MODELS[name].build(None)
    moving, still = eqx.partition(
        jax.tree.map(lambda x: jnp.asarray(x) if eqx.is_array_like(x) else x, params), eqx.is_inexact_array
    )
    tx = optax.adam(3e-3)

    def step(carry, _):
        moving, state = carry
        value, gradients = jax.value_and_grad(lambda p: fn(eqx.combine(p, still), *rest))(moving)
        updates, state = tx.update(gradients, state)
        return (optax.apply_updates(moving, updates), state), value

    train = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, length=300))
    (moving, _), values = train(moving)
    assert values[-1] < 0.7 * values[0]
    report = jaxsat.probe(fn, eqx.combine(moving, still), *rest)
    assert not report.findings, str(report)
