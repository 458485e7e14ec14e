"""What the tests of MPI need besides the shell: weights compared, checkpoints opened, images made and broken.

    helper.py compare RUN RUN [--limit 1e-5] [--floor 0]   the last checkpoints, tensor by tensor
    helper.py check RUN             open the newest checkpoint; print its name
    helper.py log RUN FIELD         a field of the last line of log.jsonl
    helper.py images FOLDER         60 small PNG files in 3 classes, always the same
    helper.py damage FOLDER [N]     break N of them, or all: between header and end, where a quick look is not

Needs numpy and safetensors.
"""

import argparse
import json
import math
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def newest(run):
    # `epoch-0003-batch-0000028` is later than `epoch-0003`, and sorts so.
    checkpoints = sorted(Path(run, "checkpoints").glob("epoch-*"))
    if not checkpoints:
        sys.exit(f"{run} has no checkpoint")
    return checkpoints[-1]


def compare(args):
    one, other = (newest(run) for run in (args.run, args.other))
    if one.name != other.name:
        sys.exit(f"different checkpoints: {one.name} and {other.name}")
    one, other = (load_file(folder / "model.safetensors") for folder in (one, other))
    if one.keys() != other.keys():
        sys.exit(f"different tensors: {sorted(one.keys() ^ other.keys())}")
    found = []
    for name in one:
        a, b = one[name].astype(np.float64), other[name].astype(np.float64)
        if a.shape != b.shape:
            sys.exit(f"{name}: shapes {a.shape} and {b.shape}")
        difference = np.linalg.norm(a - b)
        norm = max(np.linalg.norm(b), args.floor * math.sqrt(b.size))
        # Both zero, such as counters, are equal; zero and something else are not. NaN stays NaN.
        found.append((difference / norm if norm > 0 else (0.0 if difference == 0 else math.inf), name))
    # NaN first: it is no number that could be within a limit.
    found.sort(key=lambda entry: (not math.isnan(entry[0]), -entry[0]))
    exact = sum(value == 0 for value, _ in found)
    within = found[0][0] <= args.limit
    print(f"  {len(found)} tensors, {exact} of them equal to the bit; limit {args.limit:.0e}: "
          f"{'ok' if within else 'FAILED'}")
    for value, name in found[: args.top]:
        print(f"    {value:.1e}  {name}")
    losses = [last(run)["valid_loss"] for run in (args.run, args.other)]
    print(f"    validation loss {losses[0]:.7f} and {losses[1]:.7f}")
    sys.exit(not within)


def check(args):
    folder = newest(args.run)
    for name, values in load_file(folder / "model.safetensors").items():
        if not np.isfinite(values).all():
            sys.exit(f"{folder}: {name} is not finite")
    json.loads((folder / "state.json").read_text())
    print(folder.name)


def last(run):
    return json.loads(Path(run, "log.jsonl").read_text().splitlines()[-1])


def png(pixels):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def images(args):
    numbers = np.random.default_rng(0)
    for label in range(3):
        folder = Path(args.folder, f"class{label}")
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(20):
            pixels = numbers.integers(0, 128, (32, 32, 3), np.uint8)
            pixels[..., label] += 100
            (folder / f"{number:02}.png").write_bytes(png(pixels))


def damage(args):
    for file in sorted(Path(args.folder).glob("*/*.png"))[: args.count]:
        data = bytearray(file.read_bytes())
        middle = slice(len(data) // 3, len(data) * 2 // 3)
        data[middle] = bytes(255 - byte for byte in data[middle])
        file.write_bytes(data)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)

    def command(function, *names):
        added = commands.add_parser(function.__name__)
        added.set_defaults(function=function)
        for name in names:
            added.add_argument(name)
        return added

    added = command(compare, "run", "other")
    added.add_argument("--limit", type=float, default=1e-5, help="relative L2 of a tensor")
    added.add_argument("--floor", type=float, default=0, help="the least root mean square that divides")
    added.add_argument("--top", type=int, default=3)
    command(check, "run")
    added = commands.add_parser("log")
    added.add_argument("run")
    added.add_argument("field")
    added.set_defaults(function=lambda args: print(last(args.run)[args.field]))
    command(images, "folder")
    command(damage, "folder").add_argument("count", type=int, nargs="?")
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
