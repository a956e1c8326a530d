"""The networks on which several claims are tested: before training, and while they train on digits."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import optax
import xarray
from jaxtyping import Array, Key

import jaxsat
from analyses.shared import command
from jaxsat import activations, addresses, theory
from jaxsat.training import datasets

STANDARD, LARGE = "standard", "large"
CONTRASTS = ("relu", "identity")  # what sigmoidal networks are compared with


class Networks:
    """The options of the analysis, and the networks that they ask for, each made once for all claims."""

    def __init__(self, options: Any, name: str):
        self.options, self.name = options, name

    @functools.cached_property
    def sigmoidal(self) -> list[str]:
        """Names of the activations of the claims."""
        return [activations.get(a).name for a in self.options.activations]

    @functools.cached_property
    def critical(self) -> dict[str, float]:
        """Weight scales at the edge of chaos, without biases."""

        with jax.enable_x64(True):
            return {a: float(theory.critical_weight_scale(a)) for a in self.sigmoidal} | {
                "relu": self.scale("relu")  # the edge itself
            }

    def keys(self, count: int) -> Key[Array, " count"]:
        """Return the keys of the first networks, as `sweep` and `train` draw them."""
        root = addresses.root(self.options.root_seed)
        return jax.jit(jax.vmap(addresses.network, (None, 0)))(root, np.arange(count))

    def scale(self, activation: str, label: str = STANDARD) -> float:
        """Return sigma_w: LeCun's 1, for relu He's sqrt 2; the large scale is a multiple of that."""
        return (float(np.sqrt(2)) if activation == "relu" else 1.0) * (self.options.factor if label == LARGE else 1.0)

    @functools.cached_property
    def digits(self) -> datasets.TrainTestSplit:
        """Training and test examples."""
        return datasets.digits(test=1797 - self.options.examples)

    @functools.cached_property
    def trained(self) -> xarray.Dataset:
        """Networks in training: dimensions activation, scale, learning_rate, seed, step, layer. After divergence they stay."""

        options, parts = self.options, []
        steps = options.epochs * (options.examples // options.batch_size)
        looks = np.unique(np.geomspace(1, steps, options.looks).astype(int))
        for name in [*self.sigmoidal, *CONTRASTS]:
            part = jaxsat.train(
                jaxsat.MLP(depth=options.depth, width=options.width, activation=name, inputs=64, outputs=10),
                *self.digits,
                optimizer=optax.sgd,
                epochs=options.epochs,
                batch_size=options.batch_size,
                over={
                    "weight_scale": [self.scale(name, label) for label in (STANDARD, LARGE)],
                    "learning_rate": list(options.learning_rates),
                },
                seeds=options.seeds,
                root_seed=options.root_seed,
                record=["accuracy", "test_accuracy", "saturated_fraction", "dead_fraction", "log_gradient_norms", "update_ratio"],
                record_every=[0, *map(int, looks)],
                store=command.part(options, self.name, f"training-{name}"),
            )  # fmt: skip
            part = part.assign_coords(weight_scale=[STANDARD, LARGE]).rename(weight_scale="scale")
            parts.append(part.expand_dims(activation=[name]))
        found = xarray.concat(parts, "activation", combine_attrs="override")
        return found.transpose("activation", "scale", "learning_rate", "seed", "step", "layer")

    @functools.cached_property
    def drawn(self) -> xarray.Dataset:
        """Networks before training, deeper: dimensions activation, weight_scale, seed, layer; gaussian inputs."""

        options = self.options
        scales = {1.0, self.scale("relu"), self.scale("relu", LARGE), options.factor, 10.0, *self.critical.values()}
        return jaxsat.sweep(
            jaxsat.MLP(depth=options.drawn_depth, width=options.width),
            ["log_gradient_norms", "saturated_fraction"],
            {"activation": [*self.sigmoidal, "relu"], "weight_scale": sorted(scales)},
            seeds=options.drawn_seeds,
            root_seed=options.root_seed,
            store=command.part(options, self.name, "drawn"),
        ).transpose("activation", "weight_scale", "seed", "layer")

    @functools.cached_property
    def sound_rate(self) -> float:
        """The largest learning rate at which all networks of the standard weight scale stay finite; else the smallest."""
        diverged = (self.trained.diverged_at.sel(scale=STANDARD) >= 0).any(("activation", "seed")).values
        rates = np.asarray(self.options.learning_rates)
        return float(np.max(rates[~diverged], initial=rates.min()))

    def fastest(self, activation: str) -> tuple[str, float]:
        """Return the scale and learning rate at which training accuracy reaches the level first, on average over seeds."""
        steps = self.trained.step.values.astype(float)

        def first(setting):
            reached = self.trained_at("accuracy", activation, *setting) >= self.options.level
            return np.where(reached.any(-1), steps[reached.argmax(-1)], 10 * steps[-1]).mean()

        return min(((label, rate) for label in (STANDARD, LARGE) for rate in self.options.learning_rates), key=first)

    def drawn_at(self, variable: str, activation: str, weight_scale: float) -> np.ndarray:
        """Return a variable of the networks before training: seeds x layers."""
        chosen = self.drawn[variable].sel(activation=activation).sel(weight_scale=weight_scale, method="nearest")
        return chosen.values

    def trained_at(self, variable: str, activation: str, scale: str, rate: float) -> np.ndarray:
        """Return a variable of the networks in training: seeds x steps (x layers)."""
        return self.trained[variable].sel(activation=activation, scale=scale, learning_rate=rate).values
