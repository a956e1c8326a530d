"""Arguments of a wrong type, as a user gives them: without the type checks that the other tests run under."""

import json
import subprocess
import sys

import pytest

CALLS = {
    "elu('a')": "TypeError: elu: `alpha` must be a finite number and above 0; got 'a'.",
    "leaky_relu([1.0, 2.0])": "TypeError: leaky_relu: `negative_slope` must be a finite number; got [1.0, 2.0].",
    "krylov.schatten_norm(q, 'a')": "TypeError: schatten_norm: `p` must be a finite number and above 0; got 'a'",
    "krylov.spectral_density(q, x, 'wide')": "TypeError: spectral_density: `width` must be a finite number and above 0",
    "spectrum.effective_dimension(x, 'a')": "TypeError: effective_dimension: `ridge` must be a finite number and above 0",
    "jaxsat.sweep('net', 'dead_fraction', {})": "TypeError: sweep: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got ",
    "jaxsat.jacobian('net', params, x)": "TypeError: jacobian: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got ",
    "jaxsat.factors('net', params, x)": "TypeError: factors: `net` must be a network, as jaxsat.MLP",
    "jaxsat.singular_values(None, params, x)": "TypeError: singular_values: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got ",
    "jaxsat.log_singular_values('net', params, x)": (
        "TypeError: log_singular_values: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got str"
    ),
    "jaxsat.backpropagated_signal(params, params, x, x)": (
        "TypeError: backpropagated_signal: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got Params"
    ),
    "jaxsat.log_gradient_norms('net', params, x)": "TypeError: log_gradient_norms: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got ",
    "jaxsat.gradients.unit_cotangent('net', key)": "TypeError: unit_cotangent: `net` must be a network, as jaxsat.MLP",
    "jaxsat.jacobian(net, {'w': x}, x)": "TypeError: jacobian: `params` must be made by init, or by net.params; got dict. net.params",
    "jaxsat.log_singular_values(net, [x], x)": "TypeError: MLP: `params` must be made by init, or by net.params; got list. net.p",
    "jaxsat.log_singular_values(net, x, params)": (
        "TypeError: MLP: `params` must be made by init, or by net.params; got an array of shape (3,). The order is (net, params, x)"
    ),
    "jaxsat.Recurrent(3, 3).apply(x, params)": (
        "TypeError: Recurrent: `params` must be made by init; got an array of shape (3,). The order is (net, params, x)"
    ),
    "jaxsat.log_singular_values([x], [x], x)": (
        "TypeError: log_singular_values: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got list. For weights that"
    ),
    "jaxsat.log_gradient_norms(jnp.sin, [x], x)": (
        "TypeError: log_gradient_norms: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got a function. For a f"
    ),
    "jaxsat.factors(jaxsat.Recurrent(3, 4), [x], x)": (
        "TypeError: factors: `net` must be an MLP, as jaxsat.MLP(depth=8, width=64); got Recurrent. Other networks:"
    ),
    "jaxsat.Recurrent(3, 4, weight_scale=jnp.array([-1.0, 1.0]))": "ValueError: Recurrent: `weight_scale` must be at least 0; got",
    "jaxsat.Recurrent(3, 2.5)": "TypeError: Recurrent: `width` must be an integer of at least 1; got 2.5",
    "jaxsat.Recurrent(3, 4, cell=3)": "TypeError: Recurrent: `cell` must be a known name; got 3. Known: tanh, minimal, gru, lstm",
    "jaxsat.Recurrent(3, 4).apply([x], jnp.ones((3, 4)))": "TypeError: Recurrent: `params` must be made by init; got list",
    "jaxsat.Recurrent(3, 4).apply(jaxsat.Recurrent(3, 4).init(key), jnp.ones(4))": (
        "ValueError: Recurrent: `x` must be one sequence of shape (3, 4); got (4,). Use jax.vmap for a batch"
    ),
    "saturation.activation_histogram('tanh', x, 2.5)": "TypeError: saturation: `bins` must be an integer of at least 1; got 2.5",
    "saturation.off_units(1.0)": "ValueError: saturation: `pre_activations` must have units as their last axis; got",
    "saturation.dead_fraction('relu', 1.0)": "ValueError: saturation: `pre_activations` must have units as their last axis",
    "jaxsat.probe(3, x)": "TypeError: probe: `fn` must be a function, as in probe(fn, *args); got int.",
    "jaxsat.linalg.magnitudes.magnitude(jnp.arange(3))": "TypeError: magnitude: `x` must be a floating array; got int32.",
    "jaxsat.monitor(3)": "TypeError: monitor: `optimizer` must be an optax.GradientTransformation, as in monitor(",
    "jaxsat.critical_initializer('relu', ensemble='uniform')": (
        "ValueError: critical_initializer: `ensemble` must be a known name; got 'uniform'. Known: gaussian, orthogonal."
    ),
    "jaxsat.log_singular_values_of_scan(3, x, x)": (
        "TypeError: log_singular_values_of_scan: `step` must be a function (carry, x) -> carry; got int"
    ),
    "jaxsat.log_gradient_norms_of_scan(net, x, x, x)": "TypeError: log_gradient_norms_of_scan: `step` must be a function",
    "jaxsat.lyapunov_exponents_of_scan(None, x, x)": "TypeError: lyapunov_exponents_of_scan: `step` must be a function",
    "jaxsat.coordinate_check(3, (8, 16, 32))": "TypeError: coordinate_check: `make` must be a function of a width; got int.",
    "jaxsat.activations.full_slopes.with_full_slopes(3)": "TypeError: with_full_slopes: `fn` must be a function; got int.",
    "jaxsat.networks.as_network(swept=3)": "TypeError: as_network: `swept` must be a list of names of fields; got 3.",
    "jaxsat.networks.as_network(swept='ab')": "TypeError: as_network: `swept` must be a list of names of fields; got 'ab'.",
    "jaxsat.datasets.digit_rows(seed='a')": "TypeError: digit_rows: `seed` must be an integer of at least 0; got 'a'.",
    "jaxsat.probe(jnp.sum, x).save_html(3)": "TypeError: save_html: `path` must be the path of a file; got 3.",
    "jaxsat.gradients.plain_gradient_is_zero(3, params, x, x)": "TypeError: plain_gradient_is_zero: `net` must be a network, as jaxsat.MLP",
    "jaxsat.train('net', data, **run)": "TypeError: train: `net` must be a network, as jaxsat.MLP(depth=8, width=64); got ",
    "jaxsat.train(net, x, **run)": "TypeError: train: `data` must be a pair (x, y) of arrays, inputs and classes; got",
    "jaxsat.train(net, ([[1.0], [1.0, 2.0]], [0, 1]), **run)": "TypeError: train: `data` must be a pair (x, y) of arrays",
    "jaxsat.train(net, jaxsat.datasets.digits(), **run)": (
        "TypeError: train: `data` must be a pair (x, y) of arrays, inputs and classes; got TrainTestSplit. "
        "Take one of its parts: split.train, and test=split.test."
    ),
    "jaxsat.train(net, data, **(run | {'epochs': 1.5}))": "TypeError: train: `epochs` must be an integer of at least 1",
    "jaxsat.train(net, data, **run, root_seed=0.5)": "TypeError: train: `root_seed` must be an integer from 0 to 4294967295; got 0.5",
    "jaxsat.train(net, data, **run, over=[0.1])": "TypeError: train: `over` must map fields of MLP to values; got list",
    "jaxsat.train(net, data, **run, store='nowhere://bucket/run.zarr')": (
        "ValueError: train: `store` must be within reach; got nowhere://bucket/run.zarr (Unsupported filesystem: 'nowhere')."
    ),
    "jaxsat.train(net, data, **run, store=3)": "TypeError: train: `store` must be a path; got 3.",
    "jaxsat.sweep(net, 'dead_fraction', store='nowhere://a')": (
        "ValueError: sweep: `store` must be within reach; got nowhere://a (Unsupported filesystem: 'nowhere'). Check the"
    ),
    "jaxsat.train(net, data, **run, record_every='all')": "TypeError: train: `record_every` must be an interval in steps",
}
PROGRAM = f"""
import json
import jax, jax.numpy as jnp, jaxsat, optax
from jaxsat import krylov, saturation, spectrum
from jaxsat.activations import elu, leaky_relu
key, x = jax.random.key(0), jnp.ones(3)
params = jaxsat.MLP(depth=2, width=3).init(key)
q = krylov.quadrature(jnp.sin, x)
net, data = jaxsat.MLP(depth=1, width=3, outputs=2), (jnp.ones((4, 3)), jnp.zeros(4, int))
run = {{"optimizer": optax.sgd(0.1), "epochs": 1, "batch_size": 2}}
found = {{}}
for call in {list(CALLS)!r}:
    try:
        found[call] = repr(eval(call))
    except Exception as error:
        found[call] = f"{{type(error).__name__}}: {{error}}"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_type_is_answered_in_one_line(call, answers):
    assert answers[call].startswith(CALLS[call])
    assert "\n" not in answers[call]
