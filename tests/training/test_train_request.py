"""Wrong arguments of `train` are refused in one line, before anything is compiled."""

import numpy as np
import optax
import pytest

import jaxsat
from jaxsat.training import training_program
from tests.training.by_hand import TEST, X, Y, run

NAN = X.copy()
NAN[3, 1] = np.nan


def looks_at_the_rate(rate):
    return optax.sgd(0.1 if rate > 1 else rate)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"net": jaxsat.MLP(3, 6, inputs=3)}, ValueError, "`net` must have a read-out; got outputs=None"),
        ({"data": (NAN, Y)}, ValueError, "x must be finite; got 1 non-finite"),
        ({"data": (X[:, :2], Y)}, ValueError, r"`data`: x must have shape .* n_0 = 3; got \(40, 2\). Set `inputs`"),
        ({"data": (X.astype(complex), Y)}, TypeError, "x must be real numbers; got complex128"),
        ({"data": (X, Y + 1)}, ValueError, "y must be classes from 0 to 3; got 1 to 4"),
        ({"data": (X, Y - 1)}, ValueError, "y must be classes from 0 to 3; got -1 to 2"),
        ({"data": (X, Y * 1.0)}, ValueError, r"y must have shape \(40, 4\), as real targets .*\(40,\). Use y.astype\(int\)"),
        ({"data": (X, Y * 1j)}, TypeError, "y must be integers, the classes, or real numbers; got complex128"),
        ({"data": (X, np.full((40, 4), np.nan))}, ValueError, "y must be finite; got 160 non-finite"),
        ({"data": (X, np.ones((40, 4))), "record": "accuracy"}, ValueError, "'accuracy' needs classes, integers; got real"),
        ({"test": (TEST[0], np.ones((len(TEST[0]), 4)))}, ValueError, "must have targets of the same kind as `data`"),
        ({"record": "gate_saturated_fraction"}, ValueError, "train: `record` must be of a network with gates"),
        ({"data": (X, np.eye(4, dtype=int)[Y])}, ValueError, r"one class for each .* got shape \(40, 4\). Use argmax"),
        ({"data": (X, Y[:9])}, ValueError, r"one class for each of the 40 examples; got shape \(9,\)"),
        ({"test": (TEST[0], TEST[1] + 4)}, ValueError, "`test`: y must be classes from 0 to 3"),
        ({"batch_size": 41}, ValueError, "`batch_size` must be at most the 40 training examples; got 41"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer of at least 1; got 0"),
        ({"seeds": True}, TypeError, "`seeds` must be an integer of at least 1; got True"),
        ({"probe": 0}, ValueError, "`probe` must be an integer of at least 1; got 0"),
        ({"optimizer": "sgd"}, TypeError, r"must be an optax GradientTransformation, as optax.sgd\(0.1\); got str"),
        ({"optimizer": optax.sgd}, TypeError, "got a function. A function learning_rate -> transformation needs over"),
        ({"over": {"learning_rate": [0.1]}}, TypeError, "must be a function learning_rate -> Grad.* where 'learning_rate'"),
        ({"over": {"learning_rate": [0.1]}, "optimizer": lambda r: r}, TypeError, "must return an optax Gradient"),
        ({"over": {"learning_rate": [0.1]}, "optimizer": looks_at_the_rate}, ValueError, "must take any learning rate"),
        ({"over": {"learning_rates": [0.1]}}, ValueError, "got 'learning_rates'. Did you mean 'learning_rate'"),
        ({"over": {"weight_scale": 1.0}}, TypeError, "must be a sequence of values; got 1.0"),
        ({"over": {"weight_scale": []}}, ValueError, "must have at least one value; got none"),
        ({"over": {"weight_scale": [1.0, np.inf]}}, ValueError, "must be finite and at least 0"),
        ({"over": {"weight_scale": [1.0, 1.0]}}, ValueError, "must have distinct values"),
        ({"over": {"activation": ["tahn"]}}, ValueError, "Did you mean 'tanh'"),
        ({"over": {"depth": [2, 3]}}, ValueError, "`record` must have the same shapes for every network"),
        ({"record": ["losss"]}, ValueError, "must be known names; got 'losss'. Did you mean 'loss'"),
        ({"record": []}, ValueError, "`record` must name at least one of"),
        ({"record": "test_loss"}, ValueError, "'test_loss' needs `test` data; got none"),
        ({"record": "boundary_measure", "over": {"activation": ["relu"]}}, ValueError, "must be bounded for this measure"),
        ({"record_every": 0}, ValueError, "`record_every` must be an integer of at least 1; got 0"),
        ({"record_every": [0, 9]}, ValueError, r"ascending steps from 0 to 8; got \[0, 9\]"),
        ({"record_every": [3, 3]}, ValueError, r"ascending steps from 0 to 8; got \[3, 3\]"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_before_anything_is_compiled(arguments, error, message, monkeypatch):
    def compiled(*_):
        raise AssertionError("it was compiled")

    monkeypatch.setattr(training_program.TrainingProgram, "compile", compiled)
    with pytest.raises(error, match=message) as raised:
        run(**arguments)
    assert "\n" not in str(raised.value)
