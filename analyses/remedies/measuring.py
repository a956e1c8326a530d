"""The dataset: every remedy trained at every learning rate, against either ailment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax
import xarray

import jaxsat
from analyses.remedies import AILMENTS, NAME, OWN, Options
from analyses.shared import command
from jaxsat import activations, addresses, theory
from jaxsat.linalg import spectrum
from jaxsat.measures.jacobians import factors
from jaxsat.training import datasets


@dataclasses.dataclass(frozen=True, eq=False)
class Remedy:
    """One change: fields of MLP or an optimiser, at some weight scales (ailment -> sigma_w)."""

    name: str
    scales: Mapping[str, float]
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: str = "sgd"


def remedies_tried(options: Options) -> list[Remedy]:
    """Return what is tried, in the order of the options."""
    others = [activations.get(name).name for name in options.activations]
    bad = dict(zip(AILMENTS, options.scales, strict=True))
    critical = {OWN: float(theory.critical_weight_scale(activations.get(options.ailing)))}
    orthogonal = {"ensemble": "orthogonal"}
    tried = [
        Remedy("as it is", bad),
        Remedy("critical scale", critical),
        Remedy("orthogonal weights", bad, orthogonal),
        Remedy("orthogonal, critical", critical, orthogonal),
    ]
    for name in others:
        keeps = float(theory.length_map(name, 1.0, 1.0)) ** -0.5
        tried.append(Remedy(name, {OWN: keeps}, {"activation": name}))
    tried += [
        Remedy(f"residual, a = {options.residual_scale:g}", bad, {"residual_scale": options.residual_scale}),
        Remedy("layer normalisation", bad, {"normalization": "layer"}),
    ]
    return tried + [Remedy(name, bad, optimizer=name) for name in options.optimizers]


def _optimizers(options: Options) -> dict[str, Callable[[Any], optax.GradientTransformation]]:
    """Return name -> (learning rate -> transformation)."""
    return {
        "sgd": optax.sgd,
        "clipping": lambda rate: optax.chain(optax.clip_by_global_norm(options.clip), optax.sgd(rate)),
        "adam": optax.adam,
        "normalised steps": lambda rate: optax.chain(optax.normalize_by_update_norm(), optax.sgd(rate)),
    }


def measure(options: Options) -> xarray.Dataset:
    """Return every remedy, trained at every learning rate. Remedies that differ in the weight scale only are trained together."""
    tried, data = remedies_tried(options), datasets.digits()
    net = jaxsat.MLP(
        depth=options.depth, width=options.width, activation=options.ailing, inputs=data.train[0].shape[1], outputs=10
    )
    programs: dict[tuple, list[Remedy]] = {}
    for remedy in tried:
        programs.setdefault((remedy.optimizer, *remedy.fields.items()), []).append(remedy)
    spread = _spreads(options, data.train[0][0])
    cases: list[xarray.Dataset] = []
    for number, alike in enumerate(programs.values()):
        found = _trained(options, data, dataclasses.replace(net, **alike[0].fields), alike, number, spread)
        for remedy in alike:
            for ailment, scale in remedy.scales.items():
                case = found.isel(weight_scale=found.weight_scale.values.tolist().index(scale))
                cases.append(case.assign_coords(remedy=remedy.name, ailment=ailment, place=tried.index(remedy)))
    cases.sort(key=lambda case: int(case.place))
    whole: xarray.Dataset = xarray.concat(
        cases, "case", combine_attrs="override", coords="different", compat="equals", join="exact"
    )
    whole.log_gradient_ratio.attrs.update(long_name="ln ||dE/dh_1|| - ln ||dE/dh_L||", units="nat")
    return whole


def _trained(
    options: Options,
    data: datasets.TrainTestSplit,
    net: jaxsat.MLP,
    alike: list[Remedy],
    number: int,
    spread: Callable[..., float],
) -> xarray.Dataset:
    """Return one kind of network at all weight scales that these remedies ask for, trained at every learning rate."""
    optimizer = alike[0].optimizer
    rates = np.asarray(options.rates) / (30 if optimizer == "adam" else 1)
    scales = sorted({scale for remedy in alike for scale in remedy.scales.values()})
    steps = options.epochs * (len(data.train[0]) // options.batch_size)
    found = jaxsat.train(
        net, data.train, data.test, optimizer=_optimizers(options)[optimizer], epochs=options.epochs,
        batch_size=options.batch_size, over={"weight_scale": scales, "learning_rate": rates},
        seeds=options.choosing + options.seeds, root_seed=options.root_seed, record_every=[0, steps],
        record=["loss", "test_accuracy", "log_gradient_norms"], store=command.part(options, NAME, f"train-{number}"),
    )  # fmt: skip
    norms = found.log_gradient_norms
    found["log_gradient_ratio"] = norms.isel(layer=0) - norms.isel(layer=-1)
    told = {"long_name": "ln s_1 - ln s_10 of dx_L/dx_1 before training", "units": "nat"}
    spreads = [[spread(net, scale, seed) for seed in found.seed.values] for scale in scales]
    found["log_condition"] = ("weight_scale", "seed"), np.array(spreads), told
    return found.drop_dims("layer").swap_dims(learning_rate="rate").reset_coords("learning_rate")


def _spreads(options: Options, x: np.ndarray) -> Callable[..., float]:
    """Return a function (network, weight scale, seed) -> ln s_1 - ln s_10 of dx_L/dx_1 at an image, before training.

    The decomposition takes layers as plain matrices and is compiled once for all remedies.
    """
    root = addresses.root(options.root_seed)

    @jax.jit
    def layers(net, seed):
        found = factors(net, net.init(addresses.network(root, seed)), x)
        return found.hidden, found.log_abs_slopes[1:], found.slope_signs[1:]

    @jax.jit
    def logs(weights, slopes, signs):
        return spectrum.log_singular_values_of_product(weights, slopes, signs)

    def spread(net, scale, seed):
        found = logs(*layers(dataclasses.replace(net, weight_scale=scale), seed))
        return float(found[0] - found[9])

    return spread
