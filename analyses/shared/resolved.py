"""Logarithms of singular values that are known, by the estimates of their errors, and a sentence on the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxsat.linalg.spectrum import RESOLVED


def known(values: ArrayLike, errors: ArrayLike) -> np.ndarray:
    """Return values, NaN where the estimated error is not below 1e-3 nats.

    >>> known([0.0, -40.0, -np.inf], [1e-12, 0.5, 0.0]).tolist()
    [0.0, nan, -inf]
    """
    return np.where(np.asarray(errors) < RESOLVED, values, np.nan)


def sentence(errors: ArrayLike) -> str:
    """Return how well logarithms are known, for a caption.

    >>> sentence([1e-12, 0.5]), sentence([1e-12, 3.2e-8, np.nan])
    ('1 of 2 ln s have an estimated error above 0.001 nats and are left out.', 'Every ln s has an estimated error below 4e-08 nats.')
    """
    errors = np.asarray(errors)
    errors = errors[~np.isnan(errors)]
    lost = int(np.sum(errors >= RESOLVED))
    if lost:
        return f"{lost} of {errors.size} ln s have an estimated error above {RESOLVED:g} nats and are left out."
    worst = float(errors.max(initial=1e-16))
    tens = 10.0 ** np.floor(np.log10(max(worst, 1e-16)))
    return f"Every ln s has an estimated error below {(np.floor(worst / tens) + 1) * tens:.0e} nats."
