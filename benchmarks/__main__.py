"""``python -m benchmarks [NAME ..]``: run the benchmarks, and write what they print to docs/benchmarks.md."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys

from jaxsat import checks

NAMES = ("gradient_sweep", "jacobian_spectra", "stored_sweep", "training", "compilation", "imports", "probe", "scans")
PAGE = pathlib.Path(__file__).parent.parent / "docs" / "benchmarks.md"
PACKAGES = ("jax", "jaxlib", "numpy", "optax", "zarr", "torch", "chaotax")


def main(names: list[str]) -> None:
    """Run each benchmark in a process of its own, one after the other."""
    for name in names:
        try:
            checks.one_of("benchmarks", "", name, NAMES)
        except ValueError as error:
            sys.exit(f"error: {error}")
    sections = [_section(name) for name in names or NAMES]
    PAGE.write_text("\n".join([_head(), *sections]))
    print(PAGE)


def _head() -> str:
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        "# Benchmarks\n\n"
        "Written by `make bench`, never by hand. Speed is a ratio to a named alternative in the same run; seconds depend "
        "on the machine.\n\n"
        f"- Machine: {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}\n"
        f"- Date: {today}\n"
        f"- Versions: Python {platform.python_version()}, {versions}\n"
    )


def _section(name: str) -> str:
    title, _, text = (importlib.import_module(f"benchmarks.{name}").__doc__ or name).partition("\n")
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, end="", flush=True)
    return f"## {name}\n\n{title}\n\n{text.strip()}\n\n```\n{done.stdout.strip()}\n```\n"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the name of the processor, where Linux tells it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main(sys.argv[1:])
