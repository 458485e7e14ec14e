"""A worker on an Optuna study. Start as many as you like: the study ends after --trials in all.

    python worker.py --storage study.journal --trials 50 --runs runs/optuna -- resnet18 --data /data/photos
    python worker.py --storage postgresql+psycopg://user@host/db --trials 50 --runs runs/optuna -- resnet18

What follows `--` are arguments of `burn-zoo trial`. Edit `suggest` for another space.

A worker may be killed at any time. Its `burn-zoo trial` notices, writes a checkpoint and ends. Another
worker tells the trial as failed and enqueues it once more, at most three times; that trial goes on from the
checkpoint where the folder --runs is shared, and begins anew elsewhere. How workers notice:

- A database: by Optuna's heartbeat, after twice --heartbeat seconds.
- A journal file, which has no heartbeat: each worker locks a file in --runs for as long as it runs a trial.
  So --runs has to be one folder for all workers, on a file system with `flock` (local, NFS 4, Lustre
  with `-o flock`). A worker that is killed while it writes the journal leaves Optuna's own lock, which the
  others break after 30 seconds.

With a journal file, the study has exactly --trials trials, those of killed workers not counted. With a
database and workers on several machines there may be one more for each machine. There, start the first
worker alone: it makes the tables.
"""

import argparse
import contextlib
import fcntl
import json
import os
import subprocess
import time
import warnings
from pathlib import Path

import optuna
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState


def suggest(trial):
    """The values of a trial: fields of the recipe by their names."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        "optimizer": trial.suggest_categorical("optimizer", ["adamw", "sgd:momentum=0.9"]),
        "batch_size": trial.suggest_categorical("batch_size", [16, 32, 64]),
        "label_smoothing": trial.suggest_float("label_smoothing", 0, 0.2),
    }


class TrialFailed(Exception):
    """The process of a trial ended with an error, such as a loss that is not finite."""


def work(study, args, retry):
    while True:
        with contextlib.ExitStack() as locks:
            # Workers ask one after the other, so that none sees a trial which another has not locked yet.
            asking = locks.enter_context(lock(args.runs / "ask.lock"))
            optuna.storages.fail_stale_trials(study)
            if not is_url(args.storage):
                fail_unlocked_trials(study, args.runs, retry)
            trials = study.get_trials(deepcopy=False)
            states = [trial.state for trial in trials]
            if TrialState.WAITING in states or len(set(map(original, trials))) < args.trials:

                def objective(trial):
                    # Until the study has been told of the result.
                    locks.enter_context(lock(lock_of(args.runs, trial.number)))
                    asking.close()
                    return run(trial, args)

                study.optimize(objective, n_trials=1, catch=TrialFailed)
                continue
        if TrialState.RUNNING not in states:
            return
        # The worker of a running trial may yet be killed.
        time.sleep(1)


def run(trial, args):
    """Runs a trial: the metric of its best epoch."""
    trials = trial.study.get_trials(deepcopy=False)
    name = f"trial-{original(trials[trial.number]):04}"
    folder = args.runs / name
    params, log = args.runs / f"{name}.json", args.runs / f"{name}.log"
    params.write_text(json.dumps(suggest(trial)))
    flags = [f"--params-json={params}", f"--trial-id={trial.number}", f"--dir={folder}", "--resume"]
    command = [os.environ.get("BURN_ZOO", "burn-zoo"), "trial", *args.arguments, *flags]
    is_pruned = trial.user_attrs.get("pruned", False)
    with (
        log.open("a") as errors,
        # Why a process has ended is told below.
        contextlib.suppress(BrokenPipeError),
        subprocess.Popen(
            [*command, "--wait-for-answer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        for text in process.stdout:
            line = json.loads(text)
            trial.report(line[args.metric], line["training_iteration"])
            if not is_pruned and not line["done"] and trial.should_prune():
                is_pruned = True
                # A trial that repeats this one inherits it, if the worker is killed before it can tell.
                trial.set_user_attr("pruned", True)
            print("stop" if is_pruned else "continue", file=process.stdin, flush=True)
    if process.returncode != 0:
        raise TrialFailed("\n".join(log.read_text().splitlines()[-10:]))
    if is_pruned:
        raise optuna.TrialPruned
    epochs = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    best = max if args.direction == "maximize" else min
    return best(epoch[args.metric] for epoch in epochs)


def fail_unlocked_trials(study, runs, retry):
    """What the heartbeat does in a database: running trials whose worker is gone are run once more."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        with contextlib.suppress(BlockingIOError), lock(lock_of(runs, trial.number), fcntl.LOCK_NB):
            study.tell(trial.number, state=TrialState.FAIL)
            retry(study, trial)


def is_url(storage):
    return "://" in storage


def original(trial):
    """The number of the trial that this one repeats, or its own."""
    number = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if number is None else number


def lock_of(runs, number):
    return runs / f"trial-{number:04}.worker"


def lock(path, flags=0):
    """A file that is locked until it is closed, or its process ends."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | flags)
    except OSError:
        file.close()
        raise
    return file


def open_storage(args, retry):
    if not is_url(args.storage):
        return JournalStorage(JournalFileBackend(args.storage))
    return RDBStorage(
        args.storage,
        heartbeat_interval=args.heartbeat,
        grace_period=2 * args.heartbeat,
        heartbeat_stale_trial_callback=retry,
    )


def main():
    parser = argparse.ArgumentParser(description="A worker on an Optuna study.")
    parser.add_argument("--storage", required=True, help="a journal file, or the URL of a database")
    parser.add_argument("--study", default="burn-zoo", help="its name")
    parser.add_argument("--trials", type=int, required=True, help="of the study, by all workers")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of the run folders")
    parser.add_argument("--metric", default="valid_accuracy", help="such as valid_map, valid_rmse, valid_loss")
    parser.add_argument("--direction", default="maximize", choices=["maximize", "minimize"])
    parser.add_argument("--heartbeat", type=int, default=60, metavar="SECONDS")
    parser.add_argument("arguments", nargs="+", help="after `--`: arguments of `burn-zoo trial`")
    args = parser.parse_args()

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    args.runs.mkdir(parents=True, exist_ok=True)
    retry = RetryHeartbeatStaleTrialCallback(max_retry=3, inherit_intermediate_values=True)
    # Two workers that make the tables of a database at once are in each other's way.
    with lock(args.runs / "ask.lock"):
        study = optuna.create_study(
            storage=open_storage(args, retry),
            study_name=args.study,
            direction=args.direction,
            sampler=optuna.samplers.TPESampler(constant_liar=True),
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
            load_if_exists=True,
        )
    work(study, args, retry)
    best = study.best_trial
    print(f"best: {args.metric} {best.value:.4g} with {best.params}: {args.runs}/trial-{original(best):04}")


if __name__ == "__main__":
    main()
