"""What a result says of its own making: request, versions, device, command, time."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import jax

from jaxsat.results.header import MACHINES
from jaxsat.results.machine import this_machine

PACKAGES = ("jaxsat", "jax", "jaxlib", "numpy", "xarray")


def of_run(request: Mapping[str, Any], seconds: float | None = None) -> dict[str, Any]:
    """Return the attributes of a dataset that let its result be made again: strings and numbers only, nested parts as JSON.

    Args:
        request: what was asked for; must be JSON.
        seconds: how long it took; None where that is not known yet.

    >>> sorted(of_run({"seeds": 3}, seconds=0.5))
    ['command', 'created', 'device', 'dtype', 'machines', 'request', 'seconds', 'versions']
    """
    device = jax.devices()[0]
    versions = {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}
    return {
        "request": json.dumps(request),
        "versions": json.dumps(versions),
        "device": f"{device.platform}: {device.device_kind} x {jax.device_count()}",
        MACHINES: json.dumps([this_machine()]),
        "dtype": str(jax.numpy.result_type(float)),
        "command": shlex.join(sys.argv),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    } | ({} if seconds is None else {"seconds": round(seconds, 3)})


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
