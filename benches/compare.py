r"""This crate, PyTorch and, for inference, ONNX Runtime side by side on this machine's CPU: a table.

The programs take turns: for each row, ROUNDS times one after the other, each as a process of its own
on random images. A figure is the median over the rounds of the median over the steps; "ratio" is
burn-zoo's figure over the other's, so more than 1 means faster. Memory is the largest resident set of
the process.

    cargo build --release
    python benches/compare.py --threads 2 [--rounds 3] [--models resnet18,resnet50] [--out table.md]

ONNX Runtime is left out where the packages onnx and onnxruntime are missing.

Run with: Python 3.11, torch 2.15.0 (CPU), timm 1.0.31
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BURN_ZOO = HERE.parent / "target" / "release" / "burn-zoo"

# mode, optimiser, side of the images, channels, batch size, steps
ROWS = [
    ("train", "sgd", 28, 1, 64, 20),
    ("train", "adam", 28, 1, 64, 20),
    ("train", "sgd", 224, 3, 8, 6),
    ("infer", None, 28, 1, 64, 30),
    ("infer", None, 224, 3, 1, 20),
    ("infer", None, 224, 3, 8, 8),
]


def run(command, threads):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr.strip()}")
    return json.loads(result.stdout)


def programs(model, row, threads):
    mode, optimizer, size, channels, batch, steps = row
    shape = ["--mode", mode, "--image-size", str(size), "--in-channels", str(channels)]
    shape += ["--batch-size", str(batch), "--steps", str(steps)]
    if optimizer:
        shape += ["--optimizer", optimizer]
    python = [sys.executable, str(HERE / "pytorch.py"), model, *shape, "--threads", str(threads)]
    found = {"burn-zoo": [str(BURN_ZOO), "bench", model, *shape, "--json"], "PyTorch": python}
    if mode == "infer" and all(importlib.util.find_spec(p) for p in ("onnx", "onnxruntime")):
        found["ONNX Runtime"] = [*python, "--onnx"]
    return found


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(description="burn-zoo beside PyTorch and ONNX Runtime.")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="resnet18")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    import torch

    lines = [
        f"{processor()}, {args.threads} threads; PyTorch {torch.__version__.split('+')[0]}, eager.",
        f"Medians of {args.rounds} alternating rounds.",
        "",
        "| model | what | burn-zoo | PyTorch | ratio | ONNX Runtime | ratio | memory, MiB |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for model in args.models.split(","):
        for row in ROWS:
            mode, optimizer, size, channels, batch, _ = row
            rates, memory = {}, {}
            commands = programs(model, row, args.threads)
            for number in range(args.rounds):
                for name, command in commands.items():
                    found = run(command, args.threads)
                    rates.setdefault(name, []).append(found["images_per_second"])
                    memory[name] = max(memory.get(name, 0), found["peak_memory_bytes"] >> 20)
                print(f"{model} {row} round {number + 1}: {rates}", file=sys.stderr)
            median = {name: statistics.median(values) for name, values in rates.items()}
            what = "training" if mode == "train" else "inference"
            what += f", {optimizer}" if optimizer else ""
            cells = [model, f"{what}, {size} px, {channels} ch, batch {batch}", f"{median['burn-zoo']:.1f}"]
            for other in ("PyTorch", "ONNX Runtime"):
                if other in median:
                    cells += [f"{median[other]:.1f}", f"{median['burn-zoo'] / median[other]:.2f}"]
                else:
                    cells += ["", ""]
            cells.append(" / ".join(str(memory[name]) for name in commands))
            lines.append("| " + " | ".join(cells) + " |")
    table = "\n".join(lines) + "\n"
    print(table, end="")
    if args.out:
        args.out.write_text(table)


if __name__ == "__main__":
    main()
