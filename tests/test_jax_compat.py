"""What jaxsat relies on of JAX's jaxprs: if a new version of JAX changes it, these tests say what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsat import jax_compat

X = np.linspace(-1.0, 1.0, 6).reshape(2, 3)


def equations(fn, *args):
    return jax.make_jaxpr(fn)(*args).jaxpr.eqns


def test_an_equation_is_evaluated_alone_with_the_operands_that_it_is_given():
    (product,) = equations(lambda a, b: jax.lax.mul(a, b), X, X)
    (result,) = jax_compat.evaluate_equation(product, [X, 2 * X])
    np.testing.assert_array_equal(result, 2 * X * X)
    (square,) = equations(lambda a: jax.lax.mul(a, a), X)  # one variable, twice
    np.testing.assert_array_equal(jax_compat.evaluate_equation(square, [X, X])[0], X * X)
    (shifted,) = equations(lambda a: a + 2.0, X)  # a literal
    np.testing.assert_array_equal(jax_compat.evaluate_equation(shifted, [X, 2.0])[0], X + 2)
    (both,) = equations(lambda a: jnp.split(a, [1], axis=1), X)[-1:]  # two results
    assert [part.shape for part in jax_compat.evaluate_equation(both, [X])] == [(2, 1), (2, 2)]


def test_a_called_jaxpr_is_found_in_every_kind_of_call():
    @jax.custom_vjp
    def straight(x):
        return x

    straight.defvjp(lambda x: (x, None), lambda _, g: (g,))
    for fn in (jax.jit(jnp.sin), jax.checkpoint(jnp.sin), jax.nn.relu, straight):
        called = jax_compat.called_jaxpr(equations(fn, 1.0)[0])
        body, constants = jax_compat.opened(called)
        assert isinstance(body, jax_compat.Jaxpr)
        assert constants == ()
    assert jax_compat.called_jaxpr(equations(jnp.sin, 1.0)[0]) is None


def test_what_a_jaxpr_closes_over_comes_with_it():
    array = jnp.asarray(X)
    _, (constant,) = jax_compat.opened(jax.make_jaxpr(lambda x: x * array)(X))
    assert constant is array or np.array_equal(constant, X)


@pytest.mark.parametrize(("constants", "carried"), [(0, 1), (1, 2), (2, 0)])
def test_a_scan_says_how_its_operands_are_used(constants, carried):
    fixed = [jnp.full(3, i + 2.0) for i in range(constants)]

    def loop(fixed, start, xs):
        def body(carry, x):
            total = x + sum(fixed) if fixed else x
            return [c + total for c in carry], total

        return jax.lax.scan(body, start, xs)

    start = [jnp.zeros(3)] * carried
    (scan,) = [one for one in equations(loop, fixed, start, X) if one.primitive.name == "scan"]
    assert jax_compat.scan_counts(scan) == (constants, carried)
    assert {"jaxpr", "length", "reverse", "unroll"} <= scan.params.keys()


def test_parameters_of_loops_and_branches_have_the_names_that_are_used():
    by_name = {
        one.primitive.name: one.params for one in equations(lambda x: jax.lax.cond(x > 0, jnp.sin, jnp.cos, x), 1.0)
    }
    assert len(jax_compat.jaxprs_in(by_name["cond"])) == len(by_name["cond"]["branches"]) == 2
    (loop,) = equations(lambda x: jax.lax.while_loop(lambda c: c < 3, lambda c: c + 1, x), 1.0)
    assert {"cond_jaxpr", "body_jaxpr", "cond_nconsts", "body_nconsts"} <= loop.params.keys()
    (again,) = equations(jax.checkpoint(jnp.sin), 1.0)
    assert {"jaxpr", "prevent_cse", "policy"} <= again.params.keys()


def test_module_names_and_source_lines_are_known():
    def named(x):
        with jax.named_scope("outer"), jax.named_scope("inner"):
            return jnp.sin(x)

    (equation,) = equations(named, 1.0)
    assert jax_compat.scopes_of(equation) == ("outer/inner",)
    line = named.__code__.co_firstlineno + 2
    assert jax_compat.source_line(equation).startswith(f"test_jax_compat.py:{line} (")
    assert jax_compat.scopes_of(equations(jnp.sin, 1.0)[0]) == ()


def test_the_same_computation_is_known_again_and_any_other_is_not():
    def traced(fn, *args):
        return jax.make_jaxpr(fn)(*(args or (X,)))

    def network(scale, array, phi=jax.nn.relu, length=3):
        def step(h, _):
            return phi(h * scale), None

        return lambda x: jnp.sum(jax.lax.scan(step, x + array, None, length=length)[0])

    one = traced(network(2.0, jnp.ones(3)[None]))
    assert jax_compat.same_computation(one, traced(network(2.0, jnp.zeros(3)[None])))  # an array, not its values
    assert jax_compat.same_computation(one, one)
    for other in (
        traced(network(3.0, jnp.ones(3)[None])),
        traced(network(2.0, jnp.ones(3)[None], jax.nn.silu)),
        traced(network(2.0, jnp.ones(3)[None], length=4)),
        traced(network(2.0, jnp.ones((2, 3)))),
        traced(network(2.0, jnp.ones(3)[None]), X[:1]),
        traced(lambda x: jnp.sum(x)),
    ):
        assert not jax_compat.same_computation(one, other)
    assert not jax_compat.same_computation(traced(jnp.sin, X), traced(jnp.sin, X.astype(np.float32)))
    swapped = traced(lambda a, b: a - b, 1.0, 2.0), traced(lambda a, b: b - a, 1.0, 2.0)
    assert not jax_compat.same_computation(*swapped)
    assert not jax_compat.same_computation(traced(lambda x: x * 0.0), traced(lambda x: x * -0.0))
    assert jax_compat.same_computation(traced(lambda x: x * np.nan), traced(lambda x: x * np.nan))
