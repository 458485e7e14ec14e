"""Images per second on one core, from JPEG files to normalised values: burn-zoo beside Pillow.

    cargo bench --bench preprocess --no-run         # prints the path of the program
    python benches/preprocess.py target/release/deps/preprocess-HASH [--folder DIR] [--rounds 5]

The folder is filled with 64 JPEG files of 500 x 375 pixels, photograph-like, about as large as
ImageNet's. Each round takes all files through Pillow with timm's evaluation transforms (resize to
256, cut to 224, normalise) and then through burn-zoo's, both on one thread. Compared is the sum
over the files of each one's best round, which other work on the machine disturbs least.

Run with: Python 3.11, pillow 13.0.0, torch 2.15.0 (CPU), timm 1.0.31, numpy 2.4.6
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform

FILTERS = ["bilinear", "bicubic"]
STEPS = ["decode", "transform", "both"]


def make(folder):
    y, x = np.mgrid[0:375, 0:500]
    for index in range(64):
        rng = np.random.default_rng(index)
        image = np.full((375, 500, 3), 128.0)
        for channel in range(3):
            for scale in (1, 4, 16, 48):
                fx, fy, phase = rng.uniform(-scale, scale, 2).tolist() + [rng.uniform(0, 6)]
                wave = np.sin(2 * np.pi * (fx * x / 500 + fy * y / 375) + phase)
                image[..., channel] += wave * 60 / scale**0.5
        for _ in range(30):
            left, top = rng.integers(0, 450), rng.integers(0, 330)
            width, height = rng.integers(5, 120, 2)
            image[top : top + height, left : left + width] += rng.uniform(-80, 80, 3)
        image += rng.normal(0, 9, image.shape[:2])[..., None]
        pixels = Image.fromarray(image.clip(0, 255).astype(np.uint8))
        pixels.save(folder / f"{index:02}.jpg", quality=90)


def pillow(files, interpolation):
    """Seconds for decoding each file, reading included, and for the rest."""
    transform = create_transform(224, is_training=False, interpolation=interpolation, crop_pct=0.875)
    seconds = []
    for file in files:
        start = time.perf_counter()
        with open(file, "rb") as opened:
            image = Image.open(opened).convert("RGB")
        decoded = time.perf_counter()
        transform(image)
        seconds.append((decoded - start, time.perf_counter() - decoded))
    return seconds


def burn_zoo(program, folder):
    command = [program, folder, "2", "--each"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds = {}
    for line in out.splitlines():
        name, *values = line.split()
        seconds.setdefault(name, []).append(tuple(map(float, values)))
    return seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder or Path(made)
        folder.mkdir(exist_ok=True)
        if not list(folder.glob("*.jpg")):
            make(folder)
        files = sorted(folder.glob("*.jpg"))
        size = sum(file.stat().st_size for file in files) / len(files)
        print(f"{len(files)} files of {size / 1e3:.0f} kB on average, {args.rounds} rounds\n")
        theirs, ours = {}, {}
        for _ in range(args.rounds):
            for name in FILTERS:
                for _ in range(2):
                    theirs.setdefault(name, []).append(pillow(files, name))
            for name, seconds in burn_zoo(args.program, folder).items():
                ours.setdefault(name, []).append(seconds)
    print("| filter | step | Pillow images/s | burn-zoo images/s | ratio |")
    print("|---|---|---|---|---|")
    for name in FILTERS:
        # [rounds, files, steps]
        rates = [
            len(files) / np.append(best, best.sum())
            for best in (np.min(rounds[name], axis=0).sum(axis=0) for rounds in (theirs, ours))
        ]
        for step, before, after in zip(STEPS, *rates):
            print(f"| {name} | {step} | {before:.0f} | {after:.0f} | {after / before:.2f} |")


if __name__ == "__main__":
    main()
