r"""This crate, PyTorch and, for inference, ONNX Runtime side by side on this machine's CPU: a table.

The programs take turns: for each row, ROUNDS times one after the other, each as a process of its own
on random images. A figure is the median over the rounds of the median over the steps; "ratio" is
burn-zoo's figure over the other's, so more than 1 means faster. Memory is the largest resident set of
the process.

    cargo build --release
    python benches/compare.py --threads 2 [--rounds 3] [--models resnet18,resnet50] [--out table.md]

On a GPU, with burn-zoo built with the feature cuda, against PyTorch eager and compiled, in f32, TF32
(of PyTorch; burn has no switch for it) and bf16:

    cargo build --release --features cuda
    python benches/compare.py --threads 8 --device cuda [--out table.md]

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


# the same on a GPU
GPU_ROWS = [
    ("train", "sgd", 28, 1, 256, 100),
    ("train", "sgd", 224, 3, 256, 30),
    ("infer", None, 28, 1, 256, 100),
    ("infer", None, 224, 3, 256, 30),
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
    found = {"burn-zoo": [str(BURN_ZOO), "bench", model, *shape, "--threads", str(threads), "--json"], "PyTorch": python}
    if mode == "infer" and all(importlib.util.find_spec(p) for p in ("onnx", "onnxruntime")):
        found["ONNX Runtime"] = [*python, "--onnx"]
    return found


def gpu_programs(model, row, precision, threads):
    commands = programs(model, row, threads)
    ours = commands["burn-zoo"] + ["--device", "cuda"]
    eager = commands["PyTorch"] + ["--device", "cuda", "--precision", precision]
    found = {"PyTorch": eager, "compiled": [*eager, "--compile"]}
    if precision != "tf32":
        found = {"burn-zoo": [*ours, "--precision", precision], **found}
    return found


def gpu_table(models, threads, rounds):
    import torch

    lines = [
        f"{torch.cuda.get_device_name()}; PyTorch {torch.__version__}. Medians of {rounds} rounds, "
        "images per second; burn-zoo's first step, which tunes kernels, is not counted.",
        "",
        "| model | what | precision | burn-zoo | PyTorch | compiled | memory, MiB |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for model in models:
        for row in GPU_ROWS:
            for precision in ("f32", "tf32", "bf16"):
                commands = gpu_programs(model, row, precision, threads)
                rates, memory = measure(model, row, commands, threads, rounds)
                cells = [model, what(row), precision]
                for name in ("burn-zoo", "PyTorch", "compiled"):
                    cells.append(f"{statistics.median(rates[name]):.0f}" if name in rates else "")
                cells.append(" / ".join(str(memory[name]) for name in commands))
                lines.append("| " + " | ".join(cells) + " |")
    return lines


def measure(model, row, commands, threads, rounds):
    rates, memory = {}, {}
    for number in range(rounds):
        for name, command in commands.items():
            found = run(command, threads)
            rates.setdefault(name, []).append(found["images_per_second"])
            memory[name] = max(memory.get(name, 0), (found["peak_memory_bytes"] or 0) >> 20)
        print(f"{model} {row} round {number + 1}: {rates}", file=sys.stderr)
    return rates, memory


def what(row):
    mode, optimizer, size, channels, batch, _ = row
    name = "training" if mode == "train" else "inference"
    name += f", {optimizer}" if optimizer else ""
    return f"{name}, {size} px, {channels} ch, batch {batch}"


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
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    models = args.models.split(",")
    cpu = args.device == "cpu"
    lines = (table if cpu else gpu_table)(models, args.threads, args.rounds)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if args.out:
        args.out.write_text(text)


def table(models, threads, rounds):
    import torch

    lines = [
        f"{processor()}, {threads} threads; PyTorch {torch.__version__.split('+')[0]}, eager.",
        f"Medians of {rounds} alternating rounds, images per second.",
        "",
        "| model | what | burn-zoo | PyTorch | ratio | ONNX Runtime | ratio | memory, MiB |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for model in models:
        for row in ROWS:
            commands = programs(model, row, threads)
            rates, memory = measure(model, row, commands, threads, rounds)
            median = {name: statistics.median(values) for name, values in rates.items()}
            ours = median["burn-zoo"]
            cells = [model, what(row), f"{ours:.1f}"]
            for other in ("PyTorch", "ONNX Runtime"):
                if other in median:
                    cells += [f"{median[other]:.1f}", f"{ours / median[other]:.2f}"]
                else:
                    cells += ["", ""]
            cells.append(" / ".join(str(memory[name]) for name in commands))
            lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
