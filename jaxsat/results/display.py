"""How a record shows itself: one line in a terminal, a small table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

_QUOTES = "'"


def in_words(value: Any) -> str:
    """Return a number with four digits, an array as its dtype and shape, and anything else as Python writes it.

    >>> import numpy as np
    >>> in_words(np.float32(1.23456)), in_words(np.ones((2, 3))), in_words("tanh"), in_words(True)
    ('1.235', 'float64[2,3]', "'tanh'", 'True')
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape:
        return f"{dtype}[{','.join(map(str, shape))}]"
    try:
        plain = value.item() if dtype is not None else value
    except Exception:  # a number that is not known yet, inside jit
        return str(dtype)
    return f"{plain:.4g}" if isinstance(plain, float) else repr(plain)


def as_line(name: str, fields: Mapping[str, str]) -> str:
    """Return ``name(field=value, ...)``."""
    return f"{name}({', '.join(f'{key}={value}' for key, value in fields.items())})"


def as_table(title: str, fields: Mapping[str, str]) -> str:
    """Return an HTML table of two columns under a title. All text is escaped.

    >>> as_table("A < B", {"q": "1"})
    '<table><caption>A &lt; B</caption><tr><th>q</th><td>1</td></tr></table>'
    """
    rows = "".join(
        f"<tr><th>{html.escape(key)}</th><td>{html.escape(value.strip(_QUOTES))}</td></tr>"
        for key, value in fields.items()
    )
    return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"
