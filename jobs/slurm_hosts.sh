#!/usr/bin/env bash
# One job on several hosts, a process for each GPU: sbatch jobs/slurm_hosts.sh jobs/example.toml /shared/example.zarr
# jax.distributed reads the layout of the job itself, and gives each process its GPU.
#SBATCH --job-name=jaxsat
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
exec srun --kill-on-bad-exit=0 jaxsat run "$1" --store "$2" --distributed
