"""The first trials of a search of `burn-zoo tune`, with Ray Tune and PyTorch.

    python benches/ray_tune.py SEARCH_FOLDER FASHION_MNIST_FOLDER [--trials 3] [--epochs 1] [--threads 2] [--features]

It reads what the search tried from tune.jsonl, trains torchvision's resnet18 on the same images with the same values for as
many epochs (--epochs: at most so many), one trial at a time, and prints seconds an epoch beside ours. All
layers train with Adam; with --features the backbone is frozen and runs in each epoch, as tutorials have it.

Run with: Python 3.11, torch 2.15, torchvision 0.29, ray 2.60
"""

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np
import ray
import torch
from ray import tune
from torch import nn
from torchvision.models import resnet18


def read(folder, name):
    data = gzip.decompress((Path(folder) / f"{name}-ubyte.gz").read_bytes())
    return np.frombuffer(data, np.uint8, offset=16 if "images" in name else 8)


def images(folder, train, valid):
    """54,000 and 6,000 of the training images, normalised."""
    x = torch.from_numpy(read(folder, "train-images-idx3").reshape(-1, 1, 28, 28).copy())
    y = torch.from_numpy(read(folder, "train-labels-idx1").astype(np.int64))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(42))
    x, y = x[order].float().div(255).sub(0.286).div(0.353), y[order]
    cut = lambda a, b: torch.utils.data.TensorDataset(x[a:b], y[a:b])
    return cut(0, train), cut(len(x) - valid, len(x))


def train(config, options):
    torch.set_num_threads(options["threads"])
    training, validation = images(options["data"], *options["images"])
    model = resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    if options["features"]:
        model.requires_grad_(False)
        model.fc.requires_grad_(True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config["learning_rate"])
    loader = torch.utils.data.DataLoader(
        training, batch_size=config["batch_size"], shuffle=True
    )
    judged = torch.utils.data.DataLoader(validation, batch_size=256)
    for epoch in range(config["epochs"]):
        started = time.time()
        model.train()
        if options["features"]:
            model.eval()
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in judged)
        tune.report(
            {"valid_accuracy": right / len(validation), "seconds": time.time() - started}
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("search")
    parser.add_argument("data")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="at most so many of each trial")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, nargs=2, default=[54000, 6000])
    parser.add_argument("--features", action="store_true")
    arguments = parser.parse_args()

    params, epochs, seconds = {}, {}, {}
    for line in (Path(arguments.search) / "tune.jsonl").read_text().splitlines():
        event = json.loads(line)
        trial = event.get("trial")
        if event["event"] == "proposed":
            params[trial] = event["params"]
        elif event["event"] == "reported":
            epochs[trial] = event["epoch"]
        elif event["event"] == "ended":
            seconds[trial] = event["seconds"]
    chosen = sorted(epochs)[: arguments.trials]
    configs = [
        {
            "learning_rate": params[t]["learning_rate"],
            "batch_size": params[t].get("batch_size", 64),
            "epochs": min(epochs[t], arguments.epochs or epochs[t]),
        }
        for t in chosen
    ]
    options = vars(arguments) | {"data": str(Path(arguments.data).absolute())}
    ray.init(num_cpus=arguments.threads, include_dashboard=False, log_to_driver=False)
    results = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(lambda config, options: train(config["trial"], options), options=options),
            {"cpu": arguments.threads},
        ),
        param_space={"trial": tune.grid_search(configs)},
        run_config=tune.RunConfig(verbose=0),
    ).fit()
    by_config = {json.dumps(r.config["trial"]): r.metrics_dataframe for r in results}
    print("seconds an epoch, with all that a trial takes beside it")
    print(f"{'trial':>5} {'batch':>5} {'Ray, PyTorch':>13} {'burn-zoo':>9} {'ratio':>6}")
    both = [0.0, 0.0]
    for t, config in zip(chosen, configs):
        theirs = by_config[json.dumps(config)]["time_total_s"].iloc[-1] / config["epochs"]
        ours = seconds[t] / epochs[t]
        both = [both[0] + theirs * epochs[t], both[1] + seconds[t]]
        print(f"{t:>5} {config['batch_size']:>5} {theirs:>13.1f} {ours:>9.1f} {theirs / ours:>6.1f}")
    ratio = both[0] / both[1]
    print(f"these trials: {both[0]:.0f} s and {both[1]:.0f} s, {ratio:.1f} times")
    whole = sum(seconds.values())
    print(f"the whole search of {len(epochs)} trials, by that ratio: {ratio * whole:.0f} s and {whole:.0f} s")


if __name__ == "__main__":
    main()
