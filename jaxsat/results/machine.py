"""The kind of machine on which numbers are computed, as far as their last bits depend on it.

XLA compiles for the processor that it runs on. Another set of instructions multiplies, adds and rounds in another order, and
a chaotic network makes a difference of a last bit large. So a store keeps the kinds of machines that its numbers are from.
"""

from __future__ import annotations

import os
import pathlib
import platform
import re
from collections.abc import Mapping, Sequence

import jax

Machine = dict[str, str]

CPUINFO = pathlib.Path("/proc/cpuinfo")
# Instructions that compute, of x86; other processors have few features, and all of them are kept.
_ARITHMETIC = re.compile(r"sse|ssse3|pni|avx|fma|f16c|bmi|abm|amx|xop")
# Options of XLA that change no number: what is written down, and how many devices and compiler threads there are.
_HARMLESS = re.compile(
    r"xla_(dump|hlo_profile|force_host_platform_device_count|enable_dumping|gpu_force_compilation_parallelism|log_)"
)


def this_machine() -> Machine:
    """Return the kind of this machine: its instructions, or the accelerator; and the options of XLA that change numbers.

    >>> sorted(this_machine())
    ['instructions', 'xla_flags']
    """
    platform_ = jax.default_backend()
    kind = cpu_features() if platform_ == "cpu" else jax.devices()[0].device_kind
    return {"instructions": f"{platform_} {kind}", "xla_flags": xla_flags()}


def cores() -> int:
    """Return how many processors this process may use.

    >>> cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_features() -> str:
    """Return the architecture, the maker and the sets of instructions of the first processor, with spaces between them."""
    lines: dict[str, str] = {}
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            lines.setdefault(name.strip(), value.strip())
    maker = lines.get("vendor_id") or lines.get("CPU implementer") or platform.processor()
    sets = [flag for flag in lines.get("flags", "").split() if _ARITHMETIC.match(flag)]
    sets = sorted(sets or lines.get("Features", "").split())
    return " ".join([platform.machine(), maker, *sets])


def xla_flags() -> str:
    """Return the entries of the variable XLA_FLAGS that may change numbers, in order of their names."""
    text = os.environ.get("XLA_FLAGS", "").strip()
    if text and not text.startswith("-"):  # the name of a file that holds them
        try:
            text = pathlib.Path(text).read_text()
        except OSError:
            text = ""
    counted = [flag for flag in text.split() if not _HARMLESS.match(flag.lstrip("-"))]
    return " ".join(sorted(counted))


def check_known(where: str, here: Machine, known: Sequence[Machine]) -> None:
    """Raise unless numbers of this kind of machine are among the others.

    Args:
        where: the beginning of the error, up to the name of what holds the numbers.
        here: this machine.
        known: the machines that the numbers are from.

    Raises:
        ValueError: another machine; the message names what differs from the first one.
    """
    if here not in known:
        raise ValueError(
            f"{where} must be continued on the kind of machine it is from ({_difference(known[0] if known else {}, here)}): "
            "last bits differ, and a chaotic network makes them large. Use such a machine, or accept this one with "
            "allow_mixed=True (--allow-mixed), which the data then say."
        )


def _difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    parts = []
    for name in sorted(here):
        if name not in there:
            parts.append(f"{name}: unknown there")
        elif there[name] != here[name]:
            old, new = there[name].split(), here[name].split()
            lost, gained = [word for word in old if word not in new], [word for word in new if word not in old]
            parts.append(f"{name}: {_shortened(lost)} there, {_shortened(gained)} here")
    return "; ".join(parts)


def _shortened(words: list[str], most: int = 6) -> str:
    return " ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "") or "nothing more"
