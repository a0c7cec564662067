#!/bin/bash
# Sixteen tasks of a SLURM array, a GPU each; each does its part and needs to know nothing of the others.
# sbatch docs/recipes/slurm-array.sh
#SBATCH --job-name=translate
#SBATCH --array=1-16
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --output=translate-%A_%a.log

set -euo pipefail

INPUT=${INPUT:-s3://bucket/photos}
OUTPUT=${OUTPUT:-s3://bucket/facades}
MODEL=${MODEL:-facades.onnx}

# SIGTERM, two minutes before the time is over, ends it after the images that it is at; the task goes on where it was.
srun translatekit run "$INPUT" --model "$MODEL" --output "$OUTPUT" \
    --shard "${SLURM_ARRAY_TASK_ID}/${SLURM_ARRAY_TASK_COUNT}"

# When all are over, anywhere:
# translatekit run "$INPUT" --model "$MODEL" --output "$OUTPUT" --collect
