"""What a store costs: writing beside the same sweep in memory, resuming a finished one, two processes beside one."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import time
from unittest import mock

import numpy as np

import jaxsat
from benchmarks.clock import median_seconds
from jaxsat.sweeps import plan

NET = jaxsat.MLP(depth=50, width=64)
OVER = {"weight_scale": [float(v) for v in np.linspace(0.5, 3.0, 10)]}
SEEDS = 1024
PROGRAM = f"""
import sys, jaxsat
from benchmarks.stored_sweep import NET, OVER
jaxsat.sweep(NET, "log_gradient_norms", OVER, seeds={4 * SEEDS}, store=sys.argv[1], progress=False)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        names = iter(range(1_000))

        def run(store: bool) -> None:
            where = path / f"{next(names)}.zarr" if store else None
            jaxsat.sweep(NET, "log_gradient_norms", OVER, seeds=SEEDS, store=where, progress=False).load()

        memory, stored = median_seconds(lambda: run(False)), median_seconds(lambda: run(True))
        networks = SEEDS * len(OVER["weight_scale"])
        print(f"{networks} networks: in memory {memory:.2f} s, stored {stored:.2f} s: {stored / memory:.3f} x")

        tiny, many = jaxsat.MLP(depth=2, width=2), {"weight_scale": [float(v) for v in np.linspace(0.1, 3, 100)]}
        with mock.patch.object(plan, "chunk_lengths", return_value={"weight_scale": 64, "seed": 1}):
            for which in ("first", "again"):
                start = time.perf_counter()
                jaxsat.sweep(tiny, "dead_fraction", many, seeds=5_000, store=path / "many.zarr", progress=False)
                print(f"10000 chunks, {which}: {time.perf_counter() - start:.2f} s")

        def together(count: int) -> None:
            store = path / f"{next(names)}.zarr"
            processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(store)]) for _ in range(count)]
            if any(process.wait() for process in processes):
                raise RuntimeError("a process failed")

        one, two = (median_seconds(lambda count=count: together(count), repeats=1) for count in (1, 2))
        print(f"processes: one {one:.1f} s, two {two:.1f} s: {one / two:.2f} x the throughput")


if __name__ == "__main__":
    main()
