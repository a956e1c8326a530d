"""Reports of functions that run on several devices, beside NumPy and beside the same function on one device."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxsat

DRAWS = np.random.default_rng(0)
W, X = DRAWS.normal(size=(3, 5)), DRAWS.normal(size=(8, 3))
EPS = 1e-5


def normalised_over_all(devices):
    """A batch normalisation whose statistics are those of all devices, then relu."""

    def each(w, x):
        h = x @ w
        mean = jax.lax.pmean(jnp.mean(h, axis=0), "batch")
        variance = jax.lax.pmean(jnp.mean(jnp.square(h), axis=0), "batch") - jnp.square(mean)
        y = jax.nn.relu((h - mean[None]) * jax.lax.rsqrt(variance + EPS)[None])
        return jax.lax.pmean(jnp.mean(jnp.square(y)), "batch")

    mesh = Mesh(np.array(jax.devices()[:devices]), ("batch",))
    split = PartitionSpec("batch")
    return jax.shard_map(each, mesh=mesh, in_specs=(PartitionSpec(), split), out_specs=PartitionSpec())


def check_two_axes():
    """Examples over one axis, units over another: each of four sites has its quarter of one device's numbers."""
    v = DRAWS.normal(size=(5, 2))
    w, v = np.c_[W, W[:, :1]], np.r_[v, v[:1]]

    def each(w, v, x):
        outputs = jax.lax.psum(jax.nn.relu(x @ w) @ v, "model")
        return jax.lax.pmean(jnp.mean(jnp.square(outputs)), "data")

    mesh, spec = Mesh(np.array(jax.devices()).reshape(2, 2), ("data", "model")), PartitionSpec
    split = spec(None, "model"), spec("model", None), spec("data", None)
    report = jaxsat.probe(jax.shard_map(each, mesh=mesh, in_specs=split, out_specs=spec()), w, v, X)
    h = X @ w
    gradient = 2 / 16 * (np.maximum(h, 0) @ v) @ v.T * (h > 0)
    assert [site.iteration for site in report.sites] == [(0,), (1,), (2,), (3,)]
    for i, site in enumerate(report.sites):
        part = np.s_[4 * (i // 2) : 4 * (i // 2) + 4, 3 * (i % 2) : 3 * (i % 2) + 3]
        assert site.shape == (4, 3)
        assert site.pre_activation_rms == pytest.approx(np.sqrt(np.mean(h[part] ** 2)), rel=1e-12)
        assert site.dead_fraction == pytest.approx(np.mean((h[part] <= 0).all(axis=0)), rel=1e-12)
        assert site.log_gradient_norm == pytest.approx(np.log(np.linalg.norm(gradient[part])), abs=1e-12)


def check(devices):
    report = jaxsat.probe(normalised_over_all(devices), W, X)
    assert report.findings == ()
    assert [(site.kind, site.iteration) for site in report.sites] == [
        (kind, (i,)) for i in range(devices) for kind in ("normalization", "relu")
    ]
    h = X @ W
    z = (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + EPS)
    gradient = 2 * np.maximum(z, 0) / z.size
    parts = zip(np.split(z, devices), np.split(gradient, devices), report.sites[1::2], strict=True)
    for part, back, site in parts:
        # h^2 - mean^2 cancels: a variance of 1 keeps 15 digits of float64.
        assert site.pre_activation_rms == pytest.approx(np.sqrt((part**2).mean()), rel=1e-12)
        assert site.dead_fraction == pytest.approx((part <= 0).all(axis=0).mean(), rel=1e-12)
        assert site.log_gradient_norm == pytest.approx(np.log(np.linalg.norm(back)), abs=1e-12)
    if devices == 4:
        check_two_axes()
    plain = lambda w, x: jnp.sum(jnp.tanh(x @ w))  # noqa: E731
    mesh = Mesh(np.array(jax.devices()[:devices]), ("batch",))
    placed = jax.device_put(X, NamedSharding(mesh, PartitionSpec("batch")))
    (alone,), (sharded,) = (jaxsat.probe(plain, W, x).sites for x in (X, placed))
    assert sharded.shape == (8, 5)
    for name in ("pre_activation_rms", "saturated_fraction", "log_gradient_norm"):
        # A sum over devices may be taken in another order.
        assert getattr(sharded, name) == pytest.approx(getattr(alone, name), rel=1e-13)


@pytest.mark.parametrize("devices", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_sites_inside_shard_map_and_of_sharded_arguments_are_seen(devices):
    if devices == 1:
        check(1)
        return
    code = f"import tests.conftest; from tests.probing.test_shards import check; check({devices})"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_pmap_is_seen_too():
    mapped = jax.pmap(
        lambda w, x: jax.lax.psum(jnp.sum(jnp.tanh(x @ w)), "batch"), axis_name="batch", in_axes=(None, 0)
    )
    report = jaxsat.probe(lambda w, x: mapped(w, x)[0], W, X[None])
    (site,) = report.sites
    assert (site.kind, site.shape, report.notes) == ("tanh", (8, 5), ())
    slopes = 1 - np.tanh(X @ W) ** 2
    assert site.log_gradient_norm == pytest.approx(np.log(np.linalg.norm(slopes)), abs=1e-12)
