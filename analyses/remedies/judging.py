"""The order in which remedies should be tried, from the networks trained with each of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import xarray

from analyses.remedies import Options
from jaxsat.results import estimates
from jaxsat.training import datasets

CHANCE = 0.1
RECOVERED = 0.9  # a network counts as trained from this share of the way from chance to the accuracy of the best remedy


@dataclasses.dataclass(frozen=True)
class Case:
    """One remedy against one ailment, at its own learning rate, on the reported seeds.

    Attributes:
        rate: the learning rate chosen on the other seeds.
        ratios: (step, seed), before and after training: ln gradient ratio.
        conditions: (seed,), before training: ln s_1 / s_10 of the Jacobian.
        accuracies: (seed,) on test data, after training; `accuracy` is their mean.
        at_rates: mean test accuracy at every learning rate.
        at_end: whether the chosen rate is the smallest or largest tried, so that a rate beyond it might do better.
    """

    remedy: str
    ailment: str
    rate: float
    ratios: np.ndarray
    conditions: np.ndarray
    accuracies: np.ndarray
    at_rates: np.ndarray
    at_end: bool

    @property
    def accuracy(self) -> float:
        return float(self.accuracies.mean())

    @property
    def accuracy_interval(self) -> estimates.Interval:
        return estimates.mean_share_interval(self.accuracies, datasets.TEST_DIGITS)

    def trains(self, bar: float) -> bool:
        """Return whether the 95 % interval of the mean accuracy lies above."""
        return bool(self.accuracy_interval.low >= bar)


def judged_cases(options: Options, dataset: xarray.Dataset) -> tuple[list[list[Case]], float]:
    """Return the cases of each remedy, the worse first, in the order of the table; and the accuracy that counts as trained."""
    last = dataset.isel(step=-1)
    choosing, reported = slice(0, options.choosing), slice(options.choosing, None)
    losses = last.loss.where(last.diverged_at < 0, np.inf).fillna(np.inf)
    loss = losses.isel(seed=choosing).median("seed")
    found: dict[str, list[Case]] = {}
    for i, best in enumerate(loss.transpose("case", "rate").values.argmin(1)):
        rates = dataset.isel(case=i, seed=reported)
        one = rates.isel(rate=int(best)).transpose("step", "seed")
        at_rates = rates.test_accuracy.isel(step=-1).mean("seed").values
        case = Case(
            str(one.remedy.values), str(one.ailment.values), float(one.learning_rate), one.log_gradient_ratio.values,
            one.log_condition.values, one.test_accuracy.values[-1], at_rates,
            best in (0, len(at_rates) - 1),
        )  # fmt: skip
        found.setdefault(case.remedy, []).append(case)
    each = [sorted(cases, key=lambda case: case.accuracy) for cases in found.values()]
    order = sorted(each, key=lambda cases: -cases[0].accuracy)
    return order, CHANCE + RECOVERED * (order[0][0].accuracy - CHANCE)


def table(options: Options, dataset: xarray.Dataset) -> list[dict[str, Any]]:
    """What should be tried first? Remedies are sorted by their mean test accuracy in the worse of two cases, weights that
    are too small and weights that are too large. Each remedy has the learning rate with the lowest median training loss on
    other seeds. Low, high: the 95 % interval of the accuracy over seeds. Trains: the cases in which the low end is above nine
    tenths of the way from chance to the accuracy of the first remedy. Behind: the mean difference in accuracy from the first
    remedy, seed by seed, with * where its 95 % interval does not hold 0. Works: the number of learning rates at which the mean
    accuracy is above the same nine tenths. At end: the rate is the smallest or the largest that was tried, and a rate beyond
    it might do better. Rate, works and the last two columns are those of the worse case. The last two columns are medians
    before training: of ln |dE/dh_1| / |dE/dh_L|, and of ln s_1 / s_10 of the Jacobian."""
    order, bar = judged_cases(options, dataset)
    rows = []
    for place, cases in enumerate(order, start=1):
        worse = cases[0]
        accuracy = worse.accuracy_interval
        behind = estimates.mean_interval(order[0][0].accuracies - worse.accuracies)
        differs = not behind.low <= 0 <= behind.high
        rows.append({
            "try": place,
            "remedy": worse.remedy,
            "accuracy": worse.accuracy,
            "low": float(accuracy.low),
            "high": float(accuracy.high),
            "worse case": worse.ailment,
            "trains": ", ".join(case.ailment for case in cases if case.trains(bar)) or "no",
            "behind": f"{behind.estimate:.3f}{' *' if differs else ''}",
            "rate": worse.rate,
            "at end": "yes" if worse.at_end else "no",
            "works": f"{(worse.at_rates >= bar).sum()} of {len(worse.at_rates)}",
            "ln gradient ratio": float(np.median(worse.ratios[0])),
            "ln condition": float(np.median(worse.conditions)),
        })  # fmt: skip
    return rows
