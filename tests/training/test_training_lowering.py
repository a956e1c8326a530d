"""Training lowers for machines that this one is not, in float32, without any flag."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxsat
from jaxsat.training import training_program
from jaxsat.training.steps import Span
from tests.lowering import lower


def test_training_lowers_for_accelerators_in_single_precision(monkeypatch):
    made = []

    class Noted(training_program.TrainingProgram):
        def __init__(self, trainer, networks, data):
            made.append((trainer, networks, data))
            super().__init__(trainer, networks, data)

    monkeypatch.setattr(training_program, "TrainingProgram", Noted)
    x, y = np.linspace(-1, 1, 15).reshape(5, 3), np.arange(5) % 2
    net = jaxsat.MLP(2, 5, "tanh", inputs=3, outputs=2, normalization="layer")
    with jax.enable_x64(False):
        jaxsat.train(net, (x, y), optimizer=optax.adam(0.1), epochs=1, batch_size=5, seeds=1, progress=False)
        ((trainer, networks, data),) = made
        state = jax.eval_shape(trainer.start, networks)
        index, ends = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((), (4,)))
        lower(trainer.start, networks)
        lower(trainer.advance, state, networks, data, Span(index, ends, index))
