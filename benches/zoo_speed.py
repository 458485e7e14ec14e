"""Images a second of every architecture beside PyTorch's: `docs/speed.csv`.

For each name, at the architecture's own size: `burn-zoo bench NAME --mode infer` and timm's or torchvision's model
in PyTorch (eager, in the faster of the two memory formats), one after the other, on batches of random images. What
was measured before is kept, so that a run that was stopped goes on; names choose some. First come those that
`tests/fixtures/parity` has, two of each family.

    cargo build --release
    python benches/zoo_speed.py [--threads 2] [NAME ...]

Run with: Python 3.11, torch 2.15.0 (CPU), timm 1.0.31
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import timm
import torch
import torchvision

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "speed.csv"
TORCHVISION = {"googlenet": {"aux_logits": False, "init_weights": False}}
SECONDS = 0.7  # of measuring, for each memory format


def of_burn_zoo(name, batch, steps, threads):
    command = [ROOT / "target" / "release" / "burn-zoo", "bench", name, "--mode", "infer", "--json"]
    command += ["--batch-size", str(batch), "--steps", str(steps)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return json.loads(out)["images_per_second"]


def of_pytorch(name, batch):
    """Images a second, and how many steps took `SECONDS`."""
    if timm.is_model(name):
        model = timm.create_model(name)
        size = model.default_cfg["input_size"]
    else:
        model = torchvision.models.get_model(name, weights=None, **TORCHVISION.get(name, {}))
        size = (3, 224, 224)
    best, steps = 0.0, 1
    for memory_format in torch.contiguous_format, torch.channels_last:
        model = model.eval().to(memory_format=memory_format)
        images = torch.rand(batch, *size).to(memory_format=memory_format)
        with torch.inference_mode():
            model(images)
            times, begin = [], time.perf_counter()
            while len(times) < 2 or time.perf_counter() - begin < SECONDS:
                started = time.perf_counter()
                model(images)
                times.append(time.perf_counter() - started)
        rate = batch / statistics.median(times)
        best, steps = max(best, rate), len(times)
    return best, steps


def main():
    parser = argparse.ArgumentParser(description="Images a second of every architecture.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = {}
    if FILE.exists():
        with FILE.open() as file:
            rows = {row["name"]: row for row in csv.DictReader(file)}
    listed = subprocess.run([ROOT / "target" / "release" / "burn-zoo", "list", "--json"], capture_output=True, text=True, check=True)
    listed = json.loads(listed.stdout)
    names = [row["name"] for row in (listed["models"] if isinstance(listed, dict) else listed)]
    order = list(names)
    fixtures = ROOT / "tests" / "fixtures" / "parity"
    names.sort(key=lambda name: not (fixtures / f"{name}.safetensors").exists())
    for name in args.names or [name for name in names if name not in rows]:
        theirs, steps = of_pytorch(name, args.batch_size)
        ours = of_burn_zoo(name, args.batch_size, max(2, min(steps, 30)), args.threads)
        rows[name] = {"name": name, "images_per_second": f"{ours:.3g}", "pytorch": f"{theirs:.3g}"}
        print(f"{name}: {ours:.3g}, PyTorch {theirs:.3g}, ratio {ours / theirs:.2f}", flush=True)
        with FILE.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["name", "images_per_second", "pytorch"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[name] for name in order if name in rows)


if __name__ == "__main__":
    main()
