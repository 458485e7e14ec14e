"""Search with Ray Tune: ASHA over trials of `burn-zoo`.

    python search.py resnet18 --data /data/photos --samples 20 --weights hub

Flags that are not listed by --help go to `burn-zoo trial` as they are. With RAY_ADDRESS set, the search
runs on that cluster: each node needs the program, the images at the same path, and the storage path.
"""

import argparse
import os
from pathlib import Path

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from burn_zoo_trainable import BurnZooTrainable

SPACE = {
    "learning_rate": tune.loguniform(1e-4, 1e-1),
    "optimizer": tune.choice(["adamw", "sgd:momentum=0.9"]),
    "batch_size": tune.choice([16, 32, 64]),
    "label_smoothing": tune.uniform(0, 0.2),
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Search with Ray Tune and ASHA.", allow_abbrev=False)
    parser.add_argument("model", help="such as resnet18; see `burn-zoo list`")
    parser.add_argument("--data", default="fashion-mnist-mini", help="as for `burn-zoo trial`")
    parser.add_argument("--epochs", type=int, default=9, help="of a trial that is not stopped")
    parser.add_argument("--samples", type=int, default=20, help="trials")
    parser.add_argument("--cpus", type=float, default=1, help="for each trial")
    parser.add_argument("--gpus", type=float, default=0, help="for each trial")
    parser.add_argument("--checkpoint-every", type=int, default=3, metavar="EPOCHS")
    parser.add_argument("--storage-path", default="runs/ray", help="a folder that all nodes see, or a URL")
    parser.add_argument("--name", default="search", help="of the search in the storage path")
    args, flags = parser.parse_known_args(arguments)

    data = str(Path(args.data).resolve()) if Path(args.data).exists() else args.data
    storage = args.storage_path if "://" in args.storage_path else str(Path(args.storage_path).resolve())
    program = os.environ.get("BURN_ZOO", "burn-zoo")
    command = [program, "trial", args.model, f"--data={data}", f"--epochs={args.epochs}", *flags]
    trainable = tune.with_parameters(BurnZooTrainable, command=command)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": args.cpus, "gpu": args.gpus}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="valid_accuracy",
            mode="max",
            num_samples=args.samples,
            scheduler=ASHAScheduler(max_t=args.epochs, grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            name=args.name,
            storage_path=storage,
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=1, checkpoint_frequency=args.checkpoint_every, checkpoint_at_end=True
            ),
            failure_config=tune.FailureConfig(max_failures=3),
        ),
    )
    results = tuner.fit()
    best = results.get_best_result()
    print(f"best: {best.metrics['valid_accuracy']:.1%} with {best.config}")
    print(f"model: {best.checkpoint.path}/run/best")
    return results


if __name__ == "__main__":
    main()
