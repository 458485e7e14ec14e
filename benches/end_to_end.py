r"""Whole runs, this crate beside the plain PyTorch way of doing the same: seconds, and the last epoch's
accuracy (from random weights, so it only shows that the same was done).

features   the head trains for ten epochs over a frozen ResNet-18, BatchNorm in evaluation mode
gradual    one group more trains after each 1.5 of nine epochs, from the head to the stem

The PyTorch side is written as a course has it: requires_grad off, everything through the model in
each epoch; images of FashionMNIST as one tensor in memory, images in folders through ImageFolder and a
DataLoader with one worker. Both train with Adam at 1e-3 in batches of 64 (FashionMNIST) or 16 and
validate after each epoch.

    cargo build --release
    python benches/end_to_end.py --threads 2 --fashion-mnist FOLDER [--limit 12000 500]
    python benches/end_to_end.py --threads 2 --images FOLDER     # FOLDER/train/CLASS/*, FOLDER/val/CLASS/*

Run with: Python 3.11, torch 2.15.0 (CPU), torchvision 0.29.2, timm 1.0.31
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
from torch.nn.functional import cross_entropy

HERE = Path(__file__).resolve().parent
BURN_ZOO = HERE.parent / "target" / "release" / "burn-zoo"
EPOCHS = {"features": 10, "gradual": 9}


def idx(folder, name):
    data = gzip.decompress((Path(folder) / f"{name}-ubyte.gz").read_bytes())
    header = 4 + 4 * data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def fashion_mnist(folder, limit):
    """Batches in memory: a function of the part and of whether to shuffle."""
    images = torch.from_numpy(idx(folder, "train-images-idx3").copy())
    images = (images[:, None].float() / 255 - 0.2860) / 0.3530
    labels = torch.from_numpy(idx(folder, "train-labels-idx1").copy()).long()
    # As many for validation as burn-zoo sets aside: a tenth.
    count = len(labels) * 9 // 10
    parts = {"train": (images[:count], labels[:count]), "val": (images[count:], labels[count:])}
    if limit:
        cut = zip(parts.items(), limit, strict=True)
        parts = {name: tuple(values[:n] for values in part) for (name, part), n in cut}

    def batches(part):
        images, labels = parts[part]
        order = torch.randperm(len(labels)) if part == "train" else torch.arange(len(labels))
        for chosen in order.split(64):
            yield images[chosen], labels[chosen]

    return batches, 1, 10


def folder(path):
    import torchvision.transforms.v2 as v2
    from torchvision.datasets import ImageFolder

    steps = [v2.ToImage(), v2.Resize(224, antialias=True), v2.CenterCrop(224)]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    sets = {part: ImageFolder(Path(path) / part, v2.Compose(steps)) for part in ("train", "val")}
    loaders = {
        part: torch.utils.data.DataLoader(data, 16, shuffle=part == "train", num_workers=1)
        for part, data in sets.items()
    }
    return (lambda part: iter(loaders[part])), 3, len(sets["train"].classes)


def pytorch(recipe, batches, channels, classes, steps):
    torch.manual_seed(0)
    model = timm.create_model("resnet18", in_chans=channels, num_classes=classes)
    stem = [model.conv1, model.bn1]
    groups = [stem, [model.layer1], [model.layer2], [model.layer3], [model.layer4], [model.fc]]

    def freeze(free):
        for place, modules in enumerate(groups):
            trains = place >= len(groups) - free
            for module in modules:
                module.train(trains)
                for parameter in module.parameters():
                    parameter.requires_grad_(trains)

    optimizer = torch.optim.Adam(
        [
            {"params": [p for module in modules for p in module.parameters()]}
            for modules in groups
        ],
        lr=1e-3,
    )
    began = time.perf_counter()
    epochs = EPOCHS[recipe]
    for epoch in range(epochs):
        free = 0
        for count, (images, labels) in enumerate(batches("train")):
            done = (epoch + count / steps) / epochs
            wanted = 1 if recipe == "features" else 1 + min(int(done * len(groups)), 5)
            if wanted != free:
                free = wanted
                freeze(free)
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
        model.eval()
        right = total = 0
        with torch.inference_mode():
            for images, labels in batches("val"):
                right += (model(images).argmax(1) == labels).sum().item()
                total += len(labels)
        print(f"  PyTorch {recipe} epoch {epoch + 1}: {right / total:.4f}, "
              f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    return time.perf_counter() - began, right / total


def burn_zoo(recipe, data, size, batch, threads, extra=()):
    with tempfile.TemporaryDirectory() as out:
        command = [str(BURN_ZOO), "finetune", "resnet18", "--data", data, "--weights", "random",
                   "--recipe", recipe, "--epochs", str(EPOCHS[recipe]), "--batch-size", str(batch),
                   "--image-size", str(size), "--tensorboard", "off", "--no-report", "--json",
                   "--threads", str(threads), "--out", f"{out}/run", *extra]
        began = time.perf_counter()
        result = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if result.returncode != 0:
            sys.exit(result.stderr)
        lines = (Path(out) / "run" / "log.jsonl").read_text().splitlines()
        return seconds, json.loads(lines[-1])["valid_accuracy"]


def main():
    parser = argparse.ArgumentParser(description="Whole runs beside PyTorch.")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--fashion-mnist", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=Path, metavar="FOLDER")
    parser.add_argument("--limit", type=int, nargs=2, metavar=("TRAIN", "VALID"), help="so many of FashionMNIST")
    parser.add_argument("--recipes", default="features,gradual")
    parser.add_argument("--without-cache", action="store_true", help="run burn-zoo without its cache, too")
    args = parser.parse_args()
    if (args.fashion_mnist is None) == (args.images is None):
        parser.error("one of --fashion-mnist and --images")
    torch.set_num_threads(args.threads)
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)
    if args.fashion_mnist:
        data, size, batch = str(args.fashion_mnist), 28, 64
        batches, channels, classes = fashion_mnist(args.fashion_mnist, args.limit)
    else:
        data, size, batch = str(args.images), 224, 16
        batches, channels, classes = folder(args.images)
    steps = sum(1 for _ in batches("train"))
    limit = ()
    if args.limit:
        limit = ("--limit-train", str(args.limit[0]), "--limit-test", str(args.limit[1]))
    print("| recipe | burn-zoo, s | without the cache, s | PyTorch, s | ratio | accuracies |")
    print("|---|---:|---:|---:|---:|---|", flush=True)
    for recipe in args.recipes.split(","):
        ours = burn_zoo(recipe, data, size, batch, args.threads, limit)
        off = None
        if args.without_cache:
            off = burn_zoo(recipe, data, size, batch, args.threads, (*limit, "--feature-cache", "off"))
        theirs = pytorch(recipe, batches, channels, classes, steps)
        cells = [f"{recipe}, {EPOCHS[recipe]} epochs", f"{ours[0]:.0f}", f"{off[0]:.0f}" if off else ""]
        cells += [f"{theirs[0]:.0f}", f"{theirs[0] / ours[0]:.1f}", f"{ours[1]:.3f} / {theirs[1]:.3f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
