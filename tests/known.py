"""Exact answers of signal-propagation theory, each with its source, to be compared with what jaxsat computes."""

from __future__ import annotations

import numpy as np
from scipy import stats

# Edge of chaos: sigma_w for which chi = 1, at sigma_b = 0.
CRITICAL_WEIGHT_SCALES = {
    "identity": 1.0,  # chi = sigma_w^2
    "relu": np.sqrt(2.0),  # He et al. 2015, eq. 10
    "leaky_relu": np.sqrt(2 / (1 + 0.01**2)),  # He et al. 2015, eq. 15, slope 0.01
    "tanh": 1.0,  # Poole et al. 2016: q* = 0, phi'(0) = 1
    "erf": np.sqrt(np.pi) / 2,  # the same, phi'(0) = 2 / sqrt(pi)
    "hard_tanh": 1.0,
    "softsign": 1.0,
}


def arc_cosine_0(c):
    """E[H(u) H(v)], H the unit step (Cho & Saul 2009, degree 0)."""
    return (np.pi - np.arccos(c)) / (2 * np.pi)


def arc_cosine_1(q_u, q_v, c):
    """E[relu(u) relu(v)] (Cho & Saul 2009, degree 1)."""
    angle = np.arccos(c)
    return np.sqrt(q_u * q_v) * (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi)


def arcsine(q_u, q_v, c):
    """E[erf(u) erf(v)] (Williams 1997)."""
    return 2 / np.pi * np.arcsin(2 * c * np.sqrt(q_u * q_v) / np.sqrt((1 + 2 * q_u) * (1 + 2 * q_v)))


def erf_slope_squared(q):
    """E[erf'(sqrt(q) z)^2]."""
    return 4 / np.pi / np.sqrt(1 + 4 * q)


def hard_tanh_square(q):
    """E[hard_tanh(sqrt(q) z)^2], by parts."""
    z = 1 / np.sqrt(q)
    inside = 1 - 2 * stats.norm.sf(z)
    return q * (inside - 2 * z * stats.norm.pdf(z)) + 2 * stats.norm.sf(z)


def relu_field(weight_scale, bias_scale):
    """q* and chi of a ReLU network below sqrt 2: E[relu^2] = q / 2, E[relu'^2] = 1 / 2."""
    return bias_scale**2 / (1 - weight_scale**2 / 2), weight_scale**2 / 2


def fuss_catalan(depth, count=200):
    """Eigenvalues and their density for linear gaussian networks, parametrised by an angle (Penson & Zyczkowski 2011)."""
    p = np.linspace(0, np.pi / (depth + 1), count + 2)[1:-1]
    at = np.sin((depth + 1) * p) ** (depth + 1) / (np.sin(p) * np.sin(depth * p) ** depth)
    return at, np.sin(p) ** 2 * np.sin(depth * p) ** (depth - 1) / (np.pi * np.sin((depth + 1) * p) ** depth)


def by_many_panels(f, q, kinks):
    """E[f(sqrt(q) z)] by twenty nodes on each of some 6000 equal panels of 24 standard deviations, cut at the kinks."""
    s = float(np.sqrt(q))
    ends = np.unique([*np.linspace(-12 * s, 12 * s, 6001), *(k for k in kinks if abs(k) < 12 * s)])
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = (ends[1:] - ends[:-1])[:, None] / 2
    x = (ends[1:] + ends[:-1])[:, None] / 2 + half * nodes
    return float(np.sum(np.asarray(f(x)) * half * weights * stats.norm.pdf(x, scale=s)))
