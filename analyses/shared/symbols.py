"""What the symbols of the figures mean. A symbol that is not explained here is refused, so no figure has one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.text import Text

MEANINGS = {
    r"\sigma_w": "weight scale: a weight of a layer with n inputs has standard deviation sigma_w / sqrt(n)",
    r"\sigma_b": "bias scale: standard deviation of a bias",
    r"\phi": "the activation; phi' is its slope",
    r"\chi": "factor of the mean squared gradient per layer back, in mean-field theory",
    r"\xi_c": "depth scale of correlations: layers in which the correlation of two inputs comes closer to its limit by a factor e",
    r"\xi_q": "depth scale of lengths: layers in which the mean square comes closer to its limit by a factor e",
    r"\delta_l": "the signal that is propagated back: the gradient dE/dh_l of the loss E with respect to the pre-activations of layer l",
    r"\delta_1": "the gradient dE/dh_1 at the first layer",
    r"\delta_L": "the gradient dE/dh_L at the last layer",
    r"\lambda_i": "Lyapunov exponent: ln s_i / L, the growth of direction i per layer",
    r"\ell": "layers that a gradient has passed",
    "E": "the loss, or the inner product of the output with a random direction",
    "W": "the weights of a layer",
    "L": "depth, the number of layers",
    "l": "a layer, counted from the input",
    "n": "width, units per layer",
    "h": "a pre-activation",
    "h_l": "the pre-activations of layer l",
    "h_t": "the state of a recurrent network after t steps",
    "h_0": "the state before the first step",
    "t": "steps of time",
    "x": "the argument of the activation",
    "x_l": "the activations of layer l; x_0 is the input",
    "x_0": "the input",
    "s": "a singular value of the Jacobian",
    "s_1": "the largest singular value of the Jacobian",
    "s_{10}": "the tenth singular value of the Jacobian",
    "s_i": "singular value i of the Jacobian, the largest first",
    "i": "index of a singular value, the largest first",
    "q": "mean squared pre-activation of a layer",
    "q_l": "mean squared pre-activation of layer l",
    "c": "cosine between the pre-activations of two inputs",
    "c_l": "cosine between the pre-activations of two inputs in layer l",
}
# Commands of mathtext that are not symbols.
NOTATION = re.compile(r"\\(mathdefault|ln|log|partial|mathrm\{[^}]*\}|,|\||;|cdot|leq|geq|approx|times|sqrt|infty|pm)")
TOKEN = re.compile(r"(?:\\[a-z]+|[A-Za-z])(?:_(?:\{[^}]*\}|\\[a-z]+|[A-Za-z0-9]))?")
MATHS = re.compile(r"\$([^$]*)\$")


def explained(figure: Figure) -> dict[str, str]:
    """Return the symbols in the texts of a figure with their meanings.

    Raises:
        ValueError: a symbol that `MEANINGS` does not have.
    """
    seen = sorted({token for text in texts(figure) for token in tokens(text.get_text())})
    unknown = [token for token in seen if token not in MEANINGS]
    if unknown:
        raise ValueError(f"figure: every symbol must be explained in analyses/shared/symbols.py; got {unknown}.")
    return {token: MEANINGS[token] for token in seen}


def texts(figure: Figure) -> Iterator[Text]:
    """Yield the texts of a figure that show something."""
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip():
            yield text


def tokens(text: str) -> list[str]:
    r"""Return the symbols in the formulae of a text.

    >>> tokens(r"$\ln\,\|\partial E/\partial h_l\|$ at $\sigma_w$ = 1")
    ['E', 'h_l', '\\sigma_w']
    """
    return [token for formula in MATHS.findall(text) for token in TOKEN.findall(NOTATION.sub(" ", formula))]
