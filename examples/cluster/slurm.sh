#!/bin/bash
# A collection on the nodes of a Slurm job:
#
#   sbatch examples/cluster/slurm.sh 's3://bucket/shards/{000..999}.tar' -o s3://bucket/filled
#
# All that follows the script's name is for `damgan inpaint`. Every node needs damgan (activate its environment
# before sbatch, or here), the weights, the paths, and the credentials. A job that ends early, or is queued
# again, goes on where it was.
#SBATCH --job-name=damgan
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
export RAY_USAGE_STATS_ENABLED=0
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN                # or anyone in the network could run code here
RAY_AUTH_TOKEN=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')

port=$((10000 + SLURM_JOB_ID % 50000))                   # another job's Ray may be on the same node
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$first" hostname --ip-address | cut -d ' ' -f 1)

trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
srun --nodes=1 --ntasks=1 --nodelist="$first" ray start --head --block --include-dashboard=false \
  --node-ip-address="$address" --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" &
until (: < "/dev/tcp/$address/$port") 2>/dev/null; do sleep 1; done

if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks-per-node=1 --exclude="$first" \
    ray start --block --address="$address:$port" --num-cpus="$SLURM_CPUS_PER_TASK" &
fi

# Nodes that are still starting join while it works.
damgan inpaint "$@" --engine ray --address "$address:$port"
