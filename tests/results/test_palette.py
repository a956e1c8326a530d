"""Colours of lines stay apart for every kind of colour vision."""

import itertools

import numpy as np
import pytest

from jaxsat.results import drawing

# Machado, Oliveira & Fernandes (2009), severity 1: what is seen of linear RGB.
SEEN = {
    "all colours": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
APART = 15.0  # in CIE 1976 Lab, where about 2.3 can just be told apart: lines of a millimetre need several times that


def lab(color, seen):
    """CIE 1976 Lab of an sRGB colour, white at (100, 0, 0)."""
    c = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    relative = (XYZ @ np.clip(np.asarray(seen) @ linear, 0, 1)) / XYZ.sum(1)
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", SEEN)
def test_every_pair_of_colours_and_white_is_told_apart(vision):
    points = {color: lab(color, SEEN[vision]) for color in (*drawing.COLORS, "#FFFFFF")}
    for (one, a), (other, b) in itertools.combinations(points.items(), 2):
        assert np.linalg.norm(a - b) > APART, f"{one} and {other} look alike"


def test_the_ruler_knows_known_colours():
    """sRGB red in Lab is (53.2, 80.1, 67.2); without red cones, red and dark green are confused."""
    np.testing.assert_allclose(lab("#FF0000", np.eye(3)), [53.24, 80.09, 67.20], atol=0.02)
    seen = SEEN["deuteranopia"]
    assert np.linalg.norm(lab("#C00000", seen) - lab("#6C6C00", seen)) < APART
