"""What a scan must be: each wrong argument is refused in one line, before anything is compiled."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.measures.scans import vector_scan

STATE, XS = np.ones(2), np.ones((5, 2))


def plain(carry, x):
    return 0.5 * carry + x


FUNCTIONS = {
    "log_singular_values_of_scan": jaxsat.log_singular_values_of_scan,
    "log_gradient_norms_of_scan": lambda *args, **kw: jaxsat.log_gradient_norms_of_scan(*args, np.ones(2), **kw),
    "lyapunov_exponents_of_scan": jaxsat.lyapunov_exponents_of_scan,
}
WRONG = {
    "returns a pair": ((lambda c, x: (c, x), STATE, XS), {}, TypeError, r"lambda carry, x: step\(carry, x\)\[0\]"),
    "another shape": ((lambda c, x: c[:1], STATE, XS), {}, ValueError, r"keep the carry's shape \(2,\); got \(1,\)"),
    "another dtype": ((lambda c, x: c.astype("float32"), STATE, XS), {}, TypeError, "dtype float64; got float32"),
    "integers": ((plain, np.ones(2, int), XS), {}, TypeError, "`carry` must be floating-point arrays; got dtype int64"),
    "complex": ((plain, np.ones(2, complex), XS), {}, TypeError, "floating-point arrays; got dtype complex128"),
    "NaN": ((plain, np.array([1, np.nan]), XS), {}, ValueError, "`carry` must be finite"),
    "empty carry": ((plain, (), XS), {}, ValueError, "`carry` must have at least one number"),
    "no number": ((plain, "abc", XS), {}, TypeError, "`carry` must be floating-point arrays; got 'abc'"),
    "unequal": ((plain, STATE, (XS, XS[1:])), {}, ValueError, "one length in all leaves; got 4, 5"),
    "no steps": ((plain, STATE, XS[:0]), {}, ValueError, "`xs` must have at least one step"),
    "no axis": ((plain, STATE, 1.0), {}, ValueError, "`xs` must have the steps as its first axis"),
    "no length": ((plain, STATE, None), {}, ValueError, "`length` must be given"),
    "a Flax cell": (
        (nn.LSTMCell(2), STATE, XS),
        {},
        TypeError,
        "got LSTMCell of flax. Write lambda carry, x: cell.apply",
    ),
    "an Equinox cell": (
        (eqx.nn.Identity(), STATE, XS),
        {},
        TypeError,
        r"got Identity of equinox. Write lambda h, x: cell\(x, h\)",
    ),
    "other length": (
        (plain, STATE, XS),
        {"length": 4},
        ValueError,
        "must be the length 5 of `xs`; got 4. Leave it out",
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_arguments_are_refused_in_one_line_without_compiling(function, compilations):
    for args, kw, error, match in WRONG.values():
        with pytest.raises(error, match=match) as raised:
            FUNCTIONS[function](*args, **kw)
        assert str(raised.value).startswith(f"{function}: `")
        assert "\n" not in str(raised.value)
    assert not [what for what in compilations if what.startswith("backend_compile")]


def test_a_state_is_the_numbers_of_the_carry_leaf_after_leaf():
    def step(carry, x):
        return {"b": 2 * carry["b"], "a": (carry["a"][0] + x,)}

    carry = {"a": (np.zeros((2, 1)),), "b": np.float32(3)}
    scan = vector_scan(step, carry, np.arange(2.0), 2)
    assert scan.length == 2
    assert scan.state.tolist() == [0, 0, 3]
    assert scan.step(scan.state, 5.0).tolist() == [5, 5, 6]
    back = scan.carry_of(scan.state)
    assert jax.tree.map(lambda a: (a.shape, a.dtype.name), back) == {"a": (((2, 1), "float64"),), "b": ((), "float32")}
    assert scan.step(jnp.zeros(3), 1.0).dtype == jnp.float64


class Cell:
    """A step that cannot be hashed, as a module of arrays."""

    def __eq__(self, other):  # and so no __hash__
        return NotImplemented

    def __call__(self, carry, x):
        return 0.5 * carry


def test_a_step_that_cannot_be_hashed_is_a_step():
    norms = jaxsat.log_gradient_norms_of_scan(Cell(), np.ones(2), np.ones(3), np.array([1.0, 0]))
    np.testing.assert_allclose(norms, np.arange(-3, 1) * np.log(2), rtol=1e-14, atol=1e-15)


def test_one_step_is_compiled_once(compilations):
    counts = []
    for value in (1.0, 2.0, 3.0):
        jaxsat.lyapunov_exponents_of_scan(plain, np.full(2, value), np.full((5, 2), value))
        counts.append(compilations.count("backend_compile_duration"))
    assert counts[1] == counts[2] == counts[0]
