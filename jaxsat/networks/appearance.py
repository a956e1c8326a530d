"""How networks show themselves: the fields that differ from their defaults."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxsat.activations import Activation
from jaxsat.results import display


def network_line(net: Any) -> str:
    """Return a network as the call that makes it: its class, and the fields that differ from their defaults."""
    return display.as_line(type(net).__name__, _given(net))


def network_table(net: Any) -> str:
    """Return the same as an HTML table."""
    return display.as_table(type(net).__name__, _given(net))


def _given(net: Any) -> dict[str, str]:
    shown = {}
    for field in dataclasses.fields(net):
        value, default = getattr(net, field.name), field.default
        if isinstance(value, Activation):
            value, default = value.name, None
        words = display.in_words(value)
        if default is dataclasses.MISSING or words != display.in_words(default):
            shown[field.name] = words
    return shown
