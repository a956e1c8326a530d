#!/usr/bin/env bash
# One sweep by many small jobs: sbatch jobs/slurm_array.sh jobs/example.toml /shared/example.zarr
# Each task takes chunks that no other task has. Pre-empted tasks are queued again and continue. More tasks may be added at any time.
#SBATCH --job-name=jaxsat
#SBATCH --array=0-15
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
exec jaxsat run "$1" --store "$2"
