"""A run of a sweep: runs the command in the arguments, and logs its lines to Weights & Biases.

`burn-zoo trial` waits for an answer after each epoch, so it ends with a checkpoint if the agent stops this
program.
"""

import json
import subprocess
import sys
from pathlib import Path

import wandb

RUNS = Path("runs", "wandb")

RUNS.mkdir(parents=True, exist_ok=True)
with wandb.init() as run:
    flags = [f"--trial-id={run.id}", f"--dir={RUNS / run.id}", "--wait-for-answer"]
    with subprocess.Popen(
        [*sys.argv[1:], *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for text in process.stdout:
            line = json.loads(text)
            run.log(line, step=line["training_iteration"])
            print("continue", file=process.stdin, flush=True)
    # Within the block, so that W&B marks the run as failed.
    if process.returncode != 0:
        sys.exit(process.returncode)
