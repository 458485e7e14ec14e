"""The files for W&B, Katib and Slurm, used as those would use them."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from common import IMAGES, INTEGRATIONS, TRIAL, log_of, wait_for


def test_wandb_sweep(tmp_path):
    sweep = yaml.safe_load((INTEGRATIONS / "wandb/sweep.yaml").read_text())
    values = {"learning_rate": 0.001, "optimizer": "sgd:momentum=0.9", "batch_size": 32, "label_smoothing": 0.1}
    assert values.keys() == sweep["parameters"].keys()
    # As wandb's agent does.
    macros = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    macros["env"], macros["interpreter"] = ["/usr/bin/env"], [sys.executable]
    macros["program"] = [str(INTEGRATIONS.parent / sweep["program"])]
    command = []
    for part in create_sweep_command(sweep["command"]):
        macro = re.fullmatch(r"\$\{(\w+)\}", part)
        command += macros[macro[1]] if macro else [part]
    # A smaller trial.
    small = {"resnet18": "test_resnet", "--weights=bundled": "--weights=random", "--epochs=9": "--epochs=2"}
    command = [small.get(part, part) for part in command] + IMAGES[1:]
    assert {"test_resnet", "--data=fashion-mnist-mini", *small.values()} <= set(command)

    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    [run] = (tmp_path / "runs/wandb").glob("*/config.toml")
    config = run.read_text()
    for line in ["learning_rate = 0.001", "batch_size = 32", 'kind = "sgd"', "label_smoothing = 0.1"]:
        assert line in config.splitlines(), line
    assert len(log_of(run.parent)) == 2
    [logged] = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert logged.read_bytes().count(b"valid_accuracy") >= 2

    failed = subprocess.run([*command, "--epochs=x"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    assert failed.returncode != 0


def katib_trial(tmp_path):
    """The command of the experiment for one trial, made smaller."""
    experiment = yaml.safe_load((INTEGRATIONS / "katib/experiment.yaml").read_text())["spec"]
    template = experiment["trialTemplate"]
    values = {"learning_rate": "0.001", "batch_size": "32", "optimizer": "sgd:momentum=0.9"}
    assert values.keys() == {parameter["name"] for parameter in experiment["parameters"]}
    given = {parameter["name"]: values[parameter["reference"]] for parameter in template["trialParameters"]}
    [container] = template["trialSpec"]["spec"]["template"]["spec"]["containers"]
    assert container["name"] == template["primaryContainerName"]
    small = {"resnet18": "test_resnet", "--weights=bundled": "--weights=random"}
    small |= {"--epochs=9": "--epochs=3", "--dir=/tmp/run": f"--dir={tmp_path}/run"}
    command = [small.get(part, part) for part in container["command"]]
    assert set(small.values()) <= set(command)
    command = [re.sub(r"\$\{trialParameters\.(\w+)\}", lambda name: given[name[1]], part) for part in command]
    return experiment, [*command, *IMAGES[1:]]


def test_katib_experiment(tmp_path):
    experiment, command = katib_trial(tmp_path)
    # Katib's StdOut collector takes both outputs.
    shown = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    default_filter = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
    found = re.findall(default_filter, shown.stdout)
    log = log_of(tmp_path / "run")
    assert len(log) == 3
    objective = experiment["objective"]
    for metric in [objective["objectiveMetricName"], *objective["additionalMetricNames"]]:
        values = [float(value) for name, value, *_ in found if name == metric]
        assert values == [epoch[metric] for epoch in log], metric

    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    for tag, name in [("accuracy/valid", "valid_accuracy"), ("loss/valid", "valid_loss")]:
        told = [event.value for event in events.Scalars(tag)]
        assert told == pytest.approx([epoch[name] for epoch in log])
    # Katib's TensorFlowEvent collector takes tensors whose tag begins with the metric's name.
    for metric in [objective["objectiveMetricName"], *objective["additionalMetricNames"]]:
        tags = [tag for tag in events.Tags()["tensors"] if tag.startswith(metric)]
        told = [float(make_ndarray(event.tensor_proto)) for tag in tags for event in events.Tensors(tag)]
        assert told == pytest.approx([epoch[metric] for epoch in log]), metric


def test_slurm_array(tmp_path):
    script = INTEGRATIONS / "slurm/array.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    params = tmp_path / "params.jsonl"
    params.write_text('{"learning_rate": 0.5}\n{"learning_rate": 0.002, "batch_size": 30}\n')
    requeued = tmp_path / "requeued"
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {requeued}\n')
    (tmp_path / "scontrol").chmod(0o755)
    slurm = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "1"}
    environment = os.environ | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", script, params, tmp_path / "runs", *TRIAL[:-1], "--epochs=6"]

    def start():
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)

    def finish(task, *told):
        text, _ = task.communicate(timeout=60)
        return [json.loads(line) for line in [*told, *text.splitlines()]]

    # The time limit comes near, a higher job takes the node, and the third start ends the run.
    lines = []
    for signalled, requeues in [(signal.SIGUSR1, 1), (signal.SIGTERM, 1)]:
        task = start()
        first = task.stdout.readline()
        task.send_signal(signalled)
        lines += finish(task, first)
        assert task.returncode == 143 and len(requeued.read_text().splitlines()) == requeues
    task = start()
    lines += finish(task)
    assert task.returncode == 0 and requeued.read_text() == "requeue 17\n"
    assert [line["training_iteration"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["valid_accuracy"] for line in lines] == [
        epoch["valid_accuracy"] for epoch in log_of(tmp_path / "runs/2")
    ]
    config = (tmp_path / "runs/2/config.toml").read_text()
    assert "learning_rate = 0.002" in config and "batch_size = 30" in config
