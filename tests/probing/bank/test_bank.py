"""Every model of the bank: each planted fault is named with its place or cause, and nothing is found in a healthy model."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsat
from tests.probing.bank import blind_try, blind_try_layers, layers, learning, libraries, plain, science, sequences
from tests.probing.bank.case import MODELS
from tests.quick_cases import slow_except

pytestmark = pytest.mark.usefixtures("as_people_run_them")
FILES = (blind_try, blind_try_layers, layers, learning, libraries, plain, science, sequences)
QUICK = ("u_net",)
# What a report does not name rightly: (model, fault). A case that comes out right must leave this list.
MISSED: set[tuple[str, str]] = set()
# Healthy models of which a report says something after training.
FALSE_ALARMS = {
    "clipped_policy",  # all ratios are beyond the clip, and gradients are 0: so is a planted fault
}
FAULTS = [(name, fault.name) for name, model in MODELS.items() for fault in model.faults]


def test_the_bank_is_large_and_its_score_does_not_fall():
    files = {model.build.__module__.rpartition(".")[2] for model in MODELS.values()}
    assert {file.__name__.rpartition(".")[2] for file in FILES} == files
    assert len(MODELS) >= 40
    assert len({model.library for model in MODELS.values()}) >= 16
    assert len(FAULTS) >= 102
    assert set(FAULTS) >= MISSED
    assert len(FAULTS) - len(MISSED) >= 102
    assert set(MODELS) > FALSE_ALARMS


@pytest.mark.parametrize("name", slow_except(QUICK, MODELS))
def test_reports_name_what_is_wrong_and_nothing_else(name):
    """One test for each model, so that its cases share compiled programs. A healthy model is probed again after training."""
    model = MODELS[name]
    fn, args = model.build(None)
    report = jaxsat.probe(fn, *args)
    assert not report.findings, str(report)
    report = jaxsat.probe(fn, trained(fn, args, model.steps), *args[1:])
    assert bool(report.findings) == (name in FALSE_ALARMS), str(report)
    missed = {}
    for fault in model.faults:
        fn, args = model.build(fault.name)
        report = jaxsat.probe(fn, *args)
        codes = {finding.code for finding in report.findings}
        said = "\n".join([*map(str, report.findings), *report.notes])
        advised = fault.advised in " ".join(finding.advice for finding in report.findings)
        named = bool(codes & set(fault.codes)) if fault.codes else not codes
        if not (named and advised and fault.said in said):
            missed[name, fault.name] = str(report)
    assert missed.keys() == {case for case in MISSED if case[0] == name}, "\n\n".join(missed.values())


def trained(fn, args, steps):
    """Return the parameters after some steps of Adam, which lower the loss by 30 % at least: the model is healthy."""
    params, *rest = args
    moving, still = eqx.partition(
        jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, params), eqx.is_inexact_array
    )
    tx = optax.adam(3e-3)

    def loss(moving):
        value = fn(eqx.combine(moving, still), *rest)
        return value[0] if isinstance(value, tuple) else value

    def step(carry, _):
        moving, state = carry
        value, gradients = jax.value_and_grad(loss)(moving)
        updates, state = tx.update(gradients, state)
        return (optax.apply_updates(moving, updates), state), value

    train = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, length=steps))
    (moving, _), values = train(moving)
    assert values[-1] < 0.7 * values[0]
    return eqx.combine(moving, still)
