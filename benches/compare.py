r"""This crate side by side with PyTorch and ONNX Runtime, or with an older build of itself: a table.

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

With --baseline an older build takes the place of the other libraries, and nothing beyond Python's
standard library is needed:

    python benches/compare.py --threads 2 --baseline OLD/burn-zoo --models resnet18,resnet50

Each row is measured in seven rounds, old and new one after the other; the one that begins alternates.
A round gives one ratio, the old build's time over the new one's, so more than 1 means that the new one
is faster. The table has the geometric mean of the ratios with its 95 % confidence interval (Student's
t on their logarithms). A row is slower if its interval lies below 0.97; then the exit status is 1.
Beside the steps it measures whole commands, from start to end: fine-tuning and predicting.

Run with: Python 3.11, torch 2.15.0 (CPU), timm 1.0.31
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from functools import partial
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

# Sides of the small images of families that take none of 28 pixels.
SMALL = {"convnext": 32, "vgg": 32, "swin": 64}

# the same on a GPU
GPU_ROWS = [
    ("train", "sgd", 28, 1, 256, 100),
    ("train", "sgd", 224, 3, 256, 30),
    ("infer", None, 28, 1, 256, 100),
    ("infer", None, 224, 3, 256, 30),
]

# Whole commands for --baseline, on the bundled sample of FashionMNIST. RUN is the folder of the run,
# MODEL a run of before, IMAGES a folder of pictures.
FINETUNE = "finetune resnet18 --weights bundled --seed 1 --no-report --tensorboard off --out RUN"
COMMANDS = [
    ("finetune, features, 10 epochs", f"{FINETUNE} --recipe features --epochs 10"),
    ("finetune, gradual, 6 epochs", f"{FINETUNE} --recipe gradual --epochs 6 --limit-train 1000"),
    ("finetune, full, 2 epochs", f"{FINETUNE} --recipe full --epochs 2 --limit-train 1000"),
    ("predict, 1 image", "predict MODEL IMAGES/0.png"),
    ("predict, 400 images", "predict MODEL IMAGES"),
]

# A ratio below this is slower than what measuring again on a quiet machine gives.
SLOWER = 0.97

# Two-sided 95 % quantiles of Student's t, from one degree of freedom on.
STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179]


def rows_of(model, rows):
    """The rows with images that the model takes."""
    small = next((side for family, side in SMALL.items() if model.startswith(family)), 28)
    return [tuple(small if value == 28 else value for value in row) for row in rows]


def run(command, threads):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr.strip()}")
    return json.loads(result.stdout)


def arguments(row, threads):
    mode, optimizer, size, channels, batch, steps = row
    values = ["--mode", mode, "--image-size", str(size), "--in-channels", str(channels)]
    values += ["--batch-size", str(batch), "--steps", str(steps), "--threads", str(threads)]
    return values + (["--optimizer", optimizer] if optimizer else [])


def bench(binary, model, row, threads):
    return [str(binary), "bench", model, *arguments(row, threads), "--json"]


def programs(model, row, threads):
    mode = row[0]
    python = [sys.executable, str(HERE / "pytorch.py"), model, *arguments(row, threads)]
    commands = {"burn-zoo": bench(BURN_ZOO, model, row, threads), "PyTorch": python}
    if mode == "infer" and all(importlib.util.find_spec(p) for p in ("onnx", "onnxruntime")):
        commands["ONNX Runtime"] = [*python, "--onnx"]
    return commands


def gpu_programs(model, row, precision, threads):
    commands = programs(model, row, threads)
    ours = commands["burn-zoo"] + ["--device", "cuda"]
    eager = commands["PyTorch"] + ["--device", "cuda", "--precision", precision]
    commands = {"PyTorch": eager, "compiled": [*eager, "--compile"]}
    if precision != "tf32":
        commands = {"burn-zoo": [*ours, "--precision", precision], **commands}
    return commands


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
        for row in rows_of(model, GPU_ROWS):
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
            result = run(command, threads)
            rates.setdefault(name, []).append(result["images_per_second"])
            memory[name] = max(memory.get(name, 0), (result["peak_memory_bytes"] or 0) >> 20)
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


def interval(ratios):
    """Geometric mean of the ratios, and the bounds of its 95 % confidence interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    t = STUDENT[min(len(logs) - 1, len(STUDENT)) - 1]
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def seconds_per_image(command, threads):
    return 1 / run(command, threads)["images_per_second"]


def wall_seconds(command, folder):
    """Time of a whole command. Its run folder, if it writes one, is removed."""
    run_folder = tempfile.mkdtemp(dir=folder) + "/run"
    command = [run_folder if part == "RUN" else part for part in command]
    began = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True)
    elapsed = time.perf_counter() - began
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr.strip()}")
    shutil.rmtree(Path(run_folder).parent)
    return elapsed


def write_images(folder, count, size=64):
    """Grey PNG files of random pixels, without a library for images."""
    numbers = random.Random(1)

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
    folder.mkdir()
    for index in range(count):
        rows = b"".join(b"\0" + numbers.randbytes(size) for _ in range(size))
        data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        (folder / f"{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + data)


def baseline_rows(binaries, models, threads, device, folder):
    """Name and, for each build, a function that measures once: its time."""
    if device == "cpu":
        steps, extra = ROWS, []
    else:
        steps, extra = GPU_ROWS, ["--device", device]
    for model in models:
        for row in rows_of(model, steps):
            commands = [bench(binary, model, row, threads) + extra for binary in binaries]
            yield f"{model}, {what(row)}", [partial(seconds_per_image, c, threads) for c in commands]

    write_images(folder / "images", 400)
    model = folder / "model"
    train = FINETUNE.replace("RUN", str(model)) + " --limit-train 64 --epochs 1"
    subprocess.run([binaries[0], *train.split()], capture_output=True, check=True)
    for name, text in COMMANDS:
        text = text.replace("MODEL", str(model)).replace("IMAGES", str(folder / "images"))
        shared = [*text.split(), "--threads", str(threads), *extra]
        yield name, [partial(wall_seconds, [binary, *shared], folder) for binary in binaries]


def baseline_table(binaries, models, threads, rounds, device):
    """Lines of the table, and whether a row is slower."""
    lines = [
        f"{processor()}, {threads} threads. {rounds} alternating rounds; old time over new time, so "
        "more than 1 means that the new build is faster.",
        "",
        "| what | ratio | 95 % interval | |",
        "|---|---:|---|---|",
    ]
    any_slower = False
    with tempfile.TemporaryDirectory() as folder:
        for name, builds in baseline_rows(binaries, models, threads, device, Path(folder)):
            ratios = []
            for number in range(rounds):
                order = (0, 1) if number % 2 == 0 else (1, 0)
                times = {build: builds[build]() for build in order}
                ratios.append(times[0] / times[1])
                print(f"{name}, round {number + 1}: {ratios[-1]:.3f}", file=sys.stderr)
            mean, low, high = interval(ratios)
            any_slower |= high < SLOWER
            mark = "slower" if high < SLOWER else ""
            lines.append(f"| {name} | {mean:.3f} | {low:.3f} to {high:.3f} | {mark} |")
    return lines, any_slower


def main():
    parser = argparse.ArgumentParser(description="burn-zoo beside PyTorch and ONNX Runtime, or an older build.")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rounds", type=int, help="3, with --baseline 7")
    parser.add_argument("--models", default="resnet18")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--baseline", type=Path, metavar="BINARY", help="an older build of burn-zoo")
    parser.add_argument("--binary", type=Path, default=BURN_ZOO, help="the build that is measured against it")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    models = args.models.split(",")
    slower = False
    if args.baseline:
        binaries = [str(args.baseline.resolve(strict=True)), str(args.binary.resolve(strict=True))]
        lines, slower = baseline_table(binaries, models, args.threads, args.rounds or 7, args.device)
    elif args.device == "cpu":
        lines = table(models, args.threads, args.rounds or 3)
    else:
        lines = gpu_table(models, args.threads, args.rounds or 3)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if args.out:
        args.out.write_text(text)
    sys.exit(1 if slower else 0)


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
        for row in rows_of(model, ROWS):
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
