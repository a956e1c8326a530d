#!/usr/bin/env bash
# Under MPI: mpiexec -n 9 jobs/mpi.sh jobs/example.toml /shared/example.zarr
# The first rank hands out the work, the others do it. MPI ends all ranks when one dies: the same line then continues.
set -euo pipefail
: "${2:?needs a job file and the path of a store. Example: mpiexec -n 9 jobs/mpi.sh jobs/example.toml /shared/example.zarr}"
exec python -m mpi4py.futures -m jaxsat run "$1" --store "$2" --engine mpi
