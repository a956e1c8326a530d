"""What is recorded of a network in training: the measures of ``jaxsat.measures`` on the probe examples, and the training's own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jaxsat import checks
from jaxsat.measures import Variable
from jaxsat.measures.quantities import BRINGS, QUANTITIES, Quantity
from jaxsat.measures.subject import Subject, root_mean_square_of_logs, subject_of
from jaxsat.networks.mlp import MLP
from jaxsat.training.objective import cotangents_of, loss_and_accuracy
from jaxsat.training.weights import label_of_ratio

JACOBIANS = 4  # inputs whose Jacobian is looked at: each costs a decomposition of a product

Batch = tuple[Array, Array]


class Snapshot:
    """One network at one moment, and the data: what several records need is computed once."""

    def __init__(self, net: Any, params: Any, update_ratio: Array, train: Batch, test: Batch | None, probe: Batch):
        self.net, self.params, self.update_ratio = net, params, update_ratio
        self.train, self.test, self.probe = train, test, probe

    @functools.cached_property
    def on_train(self) -> tuple[Array, Array]:
        return loss_and_accuracy(self.net, self.params, *self.train)

    @functools.cached_property
    def on_test(self) -> tuple[Array, Array]:
        assert self.test is not None
        return loss_and_accuracy(self.net, self.params, *self.test)

    @functools.cached_property
    def subject(self) -> Subject:
        """The network with the probe examples as inputs, and with the gradient of each example's own loss."""
        x, y = self.probe
        of_loss = lambda outputs: cotangents_of(outputs, y)  # noqa: E731
        return subject_of(self.net, None, x, self.params, cotangent_of=of_loss, few=JACOBIANS)


@dataclasses.dataclass(frozen=True)
class Record:
    """One recorded array: its labels, and how it is computed from a snapshot."""

    variable: Variable
    of: Callable[[Snapshot], Array]


def names() -> tuple[str, ...]:
    """Return the names of what can be recorded.

    >>> "update_ratio" in names()
    True
    """
    return (*_OWN, *QUANTITIES)


def get(
    record: Sequence[str] | str | None, tested: bool, networks: Sequence[Any] = (), real: bool = False
) -> dict[str, Record]:
    """Return records by name; None gives those that are cheap and defined for this network.

    Args:
        record: names, or None.
        tested: whether there are test data.
        networks: that are trained; the records have the labels of the first. None: an MLP.
        real: whether targets are real numbers.

    Raises:
        ValueError: unknown names, none, names that need test data where there are none, names of measures that the
            network does not have.

    >>> list(get(["loss", "dead_fraction"], tested=False))
    ['loss', 'dead_fraction']
    """
    net = networks[0] if networks else MLP(depth=1, width=1)
    if record is None:
        chosen = [n for n in _DEFAULT if (tested or not n.startswith("test_")) and not (real and "accuracy" in n)]
        if len({tuple(label_of_ratio(one).coordinates.get("parameter", ())) for one in networks}) > 1:
            chosen.remove("update_ratio")  # cells of different kinds have different parameters
        return {n: _record(n, net, real) for n in chosen if n not in QUANTITIES or _is_had(QUANTITIES[n], net)}
    if not isinstance(record, (str, Sequence)) or isinstance(record, bytes):
        raise TypeError(checks.refusal("train", "record", "be known names", record))
    asked = [record] if isinstance(record, str) else list(record)
    if not asked:
        rule = f"name at least one of {', '.join(names())}"
        raise ValueError(checks.refusal("train", "record", rule, checks.Shown("none")))
    found = {}
    for name in asked:
        checks.one_of("train", "record", name, names(), "be known names")
        if name.startswith("test_") and not tested:
            raise ValueError(f"train: `record`: {name!r} needs `test` data; got none. Pass test=(x, y).")
        if real and "accuracy" in name:
            raise ValueError(f"train: `record`: {name!r} needs classes, integers; got real targets. Record the loss.")
        for part in (name, *BRINGS.get(name, ())):
            if part in QUANTITIES:
                QUANTITIES[part].check("train", "record", part, net)
            found[part] = _record(part, net, real)
    return found


def _is_had(quantity: Quantity, net: Any) -> bool:
    try:
        quantity.check("train", "record", "", net)
    except ValueError:
        return False
    return True


def _record(name: str, net: Any, real: bool) -> Record:
    if name not in QUANTITIES:
        return Record(_OWN[name].labels(net, real), _OWN[name].of)
    quantity = QUANTITIES[name]
    labels = quantity.labels(net)
    count = f"{JACOBIANS} probe examples" if "singular" in name else "probe examples"
    said = labels.long_name.replace("inputs", count).replace("every input", "every probe example")
    return Record(dataclasses.replace(labels, long_name=said), lambda snapshot: quantity.of(snapshot.subject))


@dataclasses.dataclass(frozen=True)
class _Own:
    """A record that only training has: labels (network, whether targets are real), and how it is computed from a snapshot."""

    labels: Callable[[Any, bool], Variable]
    of: Callable[[Snapshot], Array]


def _loss(where: str) -> Callable[[Any, bool], Variable]:
    def labels(net: Any, real: bool) -> Variable:
        return Variable(
            (), f"{'mean squared error' if real else 'cross-entropy'} on the {where} data", "1" if real else "nat"
        )

    return labels


def _gradient_norm(net: Any, real: bool) -> Variable:
    signal = "dE/dh_l" if isinstance(net, MLP) else "dE/d carry_t"
    labels = QUANTITIES["log_gradient_norms"].labels(net)
    said = f"||{signal}||, root mean square over probe examples; 0 where it underflows"
    return dataclasses.replace(labels, long_name=said)


_OWN: dict[str, _Own] = {
    "loss": _Own(_loss("training"), lambda s: s.on_train[0]),
    "accuracy": _Own(lambda *_: Variable((), "accuracy on the training data"), lambda s: s.on_train[1]),
    "test_loss": _Own(_loss("test"), lambda s: s.on_test[0]),
    "test_accuracy": _Own(lambda *_: Variable((), "accuracy on the test data"), lambda s: s.on_test[1]),
    "gradient_norm": _Own(_gradient_norm, lambda s: jnp.exp(root_mean_square_of_logs(s.subject.log_gradients[0]))),
    "update_ratio": _Own(lambda net, real: label_of_ratio(net), lambda s: s.update_ratio),
}
_DEFAULT = (
    "loss", "accuracy", "test_loss", "test_accuracy", "saturated_fraction", "dead_fraction", "log_gradient_norms",
    "gradient_norm", "update_ratio",
)  # fmt: skip
