"""Compute a sweep by many small jobs, through submitit: python jobs/submit.py jobs/example.toml /shared/example.zarr --jobs 16 --cluster slurm"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys

import submitit


def compute(config: str, store: str) -> int:
    """Run a process that works on a store, and return its exit code."""
    return subprocess.run([sys.executable, "-m", "jaxsat", "run", config, "--store", store], check=True).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cluster", choices=("slurm", "local"), default="slurm")
    parser.add_argument("--minutes", type=int, default=240)
    parser.add_argument("--logs", type=pathlib.Path, default=pathlib.Path("logs"))
    chosen = parser.parse_args()
    executor = submitit.AutoExecutor(folder=chosen.logs, cluster=chosen.cluster)
    executor.update_parameters(timeout_min=chosen.minutes, cpus_per_task=4)
    config, store = str(chosen.config.absolute()), str(chosen.store.absolute())
    jobs = [executor.submit(compute, config, store) for _ in range(chosen.jobs)]
    for job in jobs:
        print(job.job_id, job.result())


if __name__ == "__main__":
    main()
