r"""Data-parallel training on one machine: burn-zoo over MPI beside PyTorch's DistributedDataParallel over gloo.

ResNet-18 (10 classes, no weights) on images of 28 pixels with one channel, SGD with momentum, batches of 64
for each rank, one thread for each rank. Both are warm: PyTorch's first steps and burn-zoo's first epoch do
not count. They take turns, and the table has medians. Of burn-zoo it has what summing the gradients takes within a
step, and how long the step waits for it; of PyTorch what that takes without anything else, in the buckets that DDP
made for this model (44.7 MB; first 1 MB, then up to 25 MB), all of them begun before the first is waited for.

    cargo build --release --features mpi
    python benches/ddp.py [--ranks 1 2] [--rounds 5]

FASHION_MNIST_DIR  a folder with FashionMNIST's files [default: random images, and for burn-zoo its sample]
BURN_ZOO           the program [default: target/release/burn-zoo]; --pytorch-only needs none

Run with: Python 3.11, torch 2.15.0 (CPU), torchvision 0.29.2, Open MPI 4.1.4
"""

import argparse
import gzip
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
BURN_ZOO = os.environ.get("BURN_ZOO", str(HERE.parent / "target" / "release" / "burn-zoo"))
DATA = os.environ.get("FASHION_MNIST_DIR")
WARM_UP = 3


def idx(name, header):
    return np.frombuffer(gzip.decompress((Path(DATA) / f"{name}-ubyte.gz").read_bytes()), np.uint8, offset=header)


def fashion_mnist(count):
    import torch

    if not DATA:
        numbers = torch.Generator().manual_seed(0)
        return torch.randn(count, 1, 28, 28, generator=numbers), torch.randint(10, (count,), generator=numbers)
    images = torch.from_numpy(idx("train-images-idx3", 16).reshape(-1, 1, 28, 28)[:count].copy())
    labels = torch.from_numpy(idx("train-labels-idx1", 8)[:count].copy()).long()
    return (images.float() / 255 - 0.2860) / 0.3530, labels


def worker(batch, steps):
    """One rank of PyTorch; rank 0 prints what was measured."""
    import torch
    import torch.distributed as dist
    import torchvision
    from torch.nn.functional import cross_entropy
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    if size > 1:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = fashion_mnist((WARM_UP + steps) * batch * size)
    # Each rank has every `size`-th image of one order, as with DistributedSampler.
    order = torch.randperm(len(labels))[rank::size]
    for step, chosen in enumerate(order.split(batch)):
        if step == WARM_UP:
            dist.barrier()
            began = time.perf_counter()
        optimizer.zero_grad()
        cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    dist.barrier()
    seconds = time.perf_counter() - began
    found = {"images_per_second": steps * batch * size / seconds}
    if size > 1:
        # As text, such as "8669224, 26230784"; after the first step they follow the order of the gradients.
        logged = model._get_ddp_logging_data()
        sizes = logged.get("rebuilt_bucket_sizes") or logged["bucket_sizes"]
        buckets = [torch.ones(int(count) // 4) for count in sizes.split(",")]
        times = []
        for _ in range(9):
            dist.barrier()
            began = time.perf_counter()
            for work in [dist.all_reduce(bucket, async_op=True) for bucket in buckets]:
                work.wait()
            times.append(time.perf_counter() - began)
        found |= {"all_reduce": statistics.median(times), "bytes": [4 * len(bucket) for bucket in buckets]}
    if rank == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pytorch(args, ranks):
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks),
              "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--worker", "--batch", str(args.batch), "--steps", str(args.steps)]
    processes = [
        subprocess.Popen(command, env=os.environ | shared | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(ranks)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode != 0 for process in processes):
        sys.exit("PyTorch failed")
    return json.loads(outputs[0])


def burn_zoo(args, ranks):
    """Images a second of all ranks, as the log counts them, and what summing the gradients of a step took."""
    with tempfile.TemporaryDirectory() as out:
        command = [BURN_ZOO, "finetune", "resnet18", "--data", DATA or "fashion-mnist-mini", "--weights", "random",
                   "--batch-size", str(args.batch), "--limit-train", str(args.steps * args.batch * ranks),
                   "--limit-test", str(args.batch), "--epochs", "3", "--optimizer", "sgd:momentum=0.9",
                   "--lr", "0.01", "--schedule", "constant", "--augment", "none", "--threads", "1",
                   "--tensorboard", "off", "--no-report", "--out", f"{out}/run"]
        if ranks > 1:
            # Open MPI would give each rank one core of its own choice, and wait by spinning on it.
            command = ["mpirun", "-n", str(ranks), "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", *command]
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        result = subprocess.run(command, capture_output=True, text=True, env=os.environ | root)
        if result.returncode != 0:
            sys.exit(result.stderr)
        lines = [json.loads(line) for line in (Path(out) / "run" / "log.jsonl").read_text().splitlines()]
        found = {"images_per_second": statistics.median(line["images_per_second"] for line in lines[1:])}
        if ranks > 1:
            for name in ["seconds", "waited_seconds"]:
                found[name] = statistics.median(line["all_reduce"][name] for line in lines[1:])
        return found


def main():
    parser = argparse.ArgumentParser(description="burn-zoo over MPI beside PyTorch's DDP.")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=64, help="images of a rank and step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pytorch-only", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.batch, args.steps)
        return
    if not args.pytorch_only and not Path(BURN_ZOO).is_file():
        parser.error(f"{BURN_ZOO} is not there: build it with the feature mpi, or use --pytorch-only")
    if not args.pytorch_only and not DATA and args.batch * args.steps * max(args.ranks) > 5400:
        parser.error("burn-zoo's sample has 5400 images: fewer steps, or FASHION_MNIST_DIR")
    print("| ranks | burn-zoo, img/s | all-reduce, ms | waited for, ms | step, ms "
          "| PyTorch, img/s | all-reduce alone, ms | step, ms | ratio |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for ranks in args.ranks:
        ours, theirs, sums, sizes = [], [], [], []
        for _ in range(args.rounds):
            if not args.pytorch_only:
                ours.append(burn_zoo(args, ranks))
            found = pytorch(args, ranks)
            theirs.append(found["images_per_second"])
            sums.append(found.get("all_reduce"))
            sizes = found.get("bytes", [])
            own = ours[-1]["images_per_second"] if ours else 0
            print(f"  {ranks} ranks: burn-zoo {own:.0f}, PyTorch {theirs[-1]:.0f}", file=sys.stderr)

        def median(name):
            return f"{statistics.median(found[name] for found in ours) * 1e3:.1f}" if ours and ranks > 1 else ""

        speed = statistics.median(theirs)
        own = statistics.median(found["images_per_second"] for found in ours) if ours else None
        cells = [ranks, f"{own:.0f}" if own else "", median("seconds"), median("waited_seconds")]
        cells.append(f"{ranks * args.batch / own * 1e3:.0f}" if own else "")
        cells += [f"{speed:.0f}", f"{statistics.median(sums) * 1e3:.0f}" if ranks > 1 else ""]
        cells += [f"{ranks * args.batch / speed * 1e3:.0f}", f"{own / speed:.2f}" if own else ""]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        if sizes:
            print(f"  buckets: {', '.join(f'{size / 1e6:.1f}' for size in sizes)} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
