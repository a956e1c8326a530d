"""Factors of products, and the singular values of their product in multiple-precision arithmetic."""

import mpmath
import numpy as np


def truth(weights, log_abs=None, signs=None, digits=900):
    """ln s of the product by mpmath, -inf for exact zeros (below 10^(200 - digits) of the largest)."""
    with mpmath.workdps(digits):
        product = None
        for i, w in enumerate(weights):
            w = mpmath.matrix(np.asarray(w, float).tolist())
            product = w if product is None else w * product
            for row in range(product.rows):
                sign = 1 if signs is None else int(signs[i][row])
                slope = 1 if log_abs is None else mpmath.exp(mpmath.mpf(float(log_abs[i][row]))) if sign else 0
                for column in range(product.cols):
                    product[row, column] *= sign * slope
        s = sorted((abs(v) for v in mpmath.svd_r(product, compute_uv=False)), reverse=True)
        zero = s[0] * mpmath.mpf(10) ** (200 - digits)
        return np.array([float(mpmath.log(v)) if v > zero else -np.inf for v in s])


def tanh_factors(n, layers, spread, seed, ensemble="gaussian"):
    """Weights, and slopes of tanh at pre-activations of standard deviation `spread`."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(layers, n, n)) / np.sqrt(n)
    if ensemble == "orthogonal":
        weights = np.linalg.qr(weights)[0]
    h = np.abs(rng.normal(size=(layers, n))) * spread
    return weights, -2 * (h + np.log1p(np.exp(-2 * h)) - np.log(2)), rng.choice([-1.0, 1.0], size=(layers, n))


def haar(rng, n):
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return q * np.sign(np.diag(r))
