"""The example models: the report names the planted fault and nothing else, and misses no site."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from examples import equinox_transformer, linen_cnn, nnx_mlp, plain_rnn, training_log

EXAMPLES = {one.__name__.removeprefix("examples."): one for one in (nnx_mlp, linen_cnn, equinox_transformer, plain_rnn)}
SLOW = ("linen_cnn", "equinox_transformer")  # they compile for long
CASES = [
    pytest.param(name, fault, marks=pytest.mark.slow if name in SLOW or fault == "bfloat16" else ())
    for name, one in EXAMPLES.items()
    for fault in (None, *one.FAULTS)
]


@pytest.fixture(autouse=True)
def _as_frameworks_expect():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.enable_x64(False):
        yield


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_the_findings_name_the_planted_fault_and_nothing_else(name, fault):
    example = EXAMPLES[name]
    fn, args = example.build(fault)
    report = jaxsat.probe(fn, *args)
    assert [finding.code for finding in report.findings] == ([] if fault is None else [example.FAULTS[fault]])
    assert len(report.sites) == example.SITES
    assert report.notes == ()
    assert report.loss == pytest.approx(float(fn(*args)), rel=5e-3 if "float16" in (fault or "") else 1e-5)
    for finding in report.findings:
        assert finding.sites
        assert finding.advice
    if fault == "dead bias":
        (finding,) = report.findings
        (site,) = finding.sites  # the one layer whose biases were lowered
        assert site.bias_mean == -8
        assert "biases have mean -8" in finding.message
        assert "Start the biases at 0" in finding.advice
    if fault is not None and "initialiser" in fault and name != "plain_rnn":
        assert "x the critical scale" in report.findings[0].message
        assert "jaxsat.critical_initializer(" in report.findings[0].advice


def test_the_training_log_writes_what_reports_and_the_optimiser_say():
    written = {}

    class Writer:
        def add_scalar(self, tag, value, step, /):
            written.setdefault(tag, {})[step] = value

    watch = training_log.train(Writer())
    assert all(list(values) == [0, 20, 40] for tag, values in written.items() if "noise" not in tag)
    ds = watch.dataset()
    assert list(written["report/loss"].values()) == ds.loss.values.tolist()
    assert written["report/loss"][40] < 0.5 * written["report/loss"][0]
    path = ds.site.values[0]
    assert list(written[f"report/{path}/participation_ratio"].values()) == ds.participation_ratio.values[:, 0].tolist()
    assert written["optimizer/['layers'][0]['w']/log_gradient_norm"][20] < 0
    params, x, y = training_log.data()
    gradient = jax.grad(training_log.loss)(params, x, y)["out"]
    assert written["optimizer/['out']/log_gradient_norm"][0] == pytest.approx(
        np.log(np.linalg.norm(gradient)), abs=1e-5
    )


@pytest.mark.slow
def test_jitted_losses_have_the_same_bits():
    for name in ("nnx_mlp", "linen_cnn", "plain_rnn"):
        fn, args = EXAMPLES[name].build()
        assert jnp.array_equal(jaxsat.probe(fn, *args).loss, jax.jit(fn)(*args)), name
