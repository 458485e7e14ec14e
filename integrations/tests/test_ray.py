import json
import random
from pathlib import Path

import numpy as np
import pytest
import ray
from ray import tune
from ray.cluster_utils import Cluster
from ray.tune.schedulers import PopulationBasedTraining

import search
from burn_zoo_trainable import BurnZooTrainable
from common import IMAGES, log_of, processes, wait_for

TRIAL = ["burn-zoo", "trial", "test_resnet", *IMAGES, "--weights=random"]


@pytest.fixture
def local():
    ray.init(num_cpus=2, include_dashboard=False)
    yield
    ray.shutdown()


def run_config(tmp_path, **options):
    options.setdefault("checkpoint_config", tune.CheckpointConfig(checkpoint_at_end=True))
    return tune.RunConfig(name="search", storage_path=str(tmp_path), **options)


def epochs(result):
    return result.metrics_dataframe["training_iteration"].tolist()


def assert_equals_log(result):
    figures = ["valid_accuracy", "valid_loss", "train_loss", "seconds"]
    told = result.metrics_dataframe[figures].to_numpy()
    log = log_of(f"{result.checkpoint.path}/run")
    assert told == pytest.approx(np.array([[epoch[name] for name in figures] for epoch in log]))


def test_asha_stops_trials_early(local, tmp_path):
    random.seed(1)
    np.random.seed(1)
    images = [flag for flag in IMAGES if not flag.startswith("--data")]
    results = search.main(
        ["test_resnet", "--samples=6", "--epochs=4", f"--storage-path={tmp_path}", "--weights=random", *images]
    )
    assert len(results) == 6 and results.num_errors == 0
    lengths = [len(epochs(result)) for result in results]
    assert min(lengths) < 4 and max(lengths) == 4, lengths
    for result in results:
        assert epochs(result) == list(range(1, len(epochs(result)) + 1))
        assert_equals_log(result)
    assert not processes("burn-zoo trial test_resnet")


def test_pbt_trains_on_with_other_values(local, tmp_path):
    command = [*TRIAL, "--epochs=6"]
    results = tune.Tuner(
        tune.with_parameters(BurnZooTrainable, command=command),
        param_space={"learning_rate": tune.grid_search([1e-6, 1e-3]), "weight_decay": 0.0},
        tune_config=tune.TuneConfig(
            metric="valid_accuracy",
            mode="max",
            reuse_actors=True,
            scheduler=PopulationBasedTraining(
                time_attr="training_iteration",
                perturbation_interval=2,
                quantile_fraction=0.5,
                resample_probability=0,
                hyperparam_mutations={"learning_rate": tune.loguniform(1e-6, 1e-2)},
                synch=True,
            ),
        ),
        run_config=run_config(tmp_path),
    ).fit()
    assert results.num_errors == 0
    for result in results:
        frame = result.metrics_dataframe
        # No epoch is missing or told twice, and each was trained with the rate that PBT had chosen.
        assert epochs(result) == [1, 2, 3, 4, 5, 6]
        assert frame["learning_rate"].tolist() == pytest.approx(frame["config/learning_rate"].tolist())
    # The worse trial has changed its rate, and has the better one's weights.
    [worse] = [result for result in results if result.metrics_dataframe["learning_rate"][0] == 1e-6]
    assert worse.metrics_dataframe["learning_rate"][2] > 1e-6
    begun = json.loads(Path(worse.checkpoint.path, "begun.json").read_text())
    assert begun["epochs_before"] > 0
    assert worse.metrics_dataframe["train_loss"][2] < 0.8 * worse.metrics_dataframe["train_loss"][1]


def test_a_trial_that_fails_says_why(local, tmp_path):
    command = [*TRIAL, "--epochs=2"]
    [result] = tune.Tuner(
        tune.with_parameters(BurnZooTrainable, command=command),
        param_space={"learning_rat": 1e-3},
        run_config=run_config(tmp_path),
    ).fit()
    assert "exit status 1" in str(result.error) and "learning_rat" in str(result.error)


class KillNode(tune.Callback):
    """Takes the node of the trial away after its third epoch, once there is another one."""

    cluster = node = None

    def on_trial_result(self, iteration, trials, trial, result, **info):
        if result["training_iteration"] == 3 and KillNode.node is not None:
            KillNode.cluster.add_node(num_cpus=1)
            KillNode.cluster.remove_node(KillNode.node, allow_graceful=False)
            KillNode.node = None


def test_a_trial_goes_on_when_its_node_is_lost(tmp_path):
    # The head, which runs the search itself, has no room for trials.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    KillNode.cluster, KillNode.node = cluster, cluster.add_node(num_cpus=1)
    try:
        ray.init(address=cluster.address)
        command = [*TRIAL, "--epochs=6"]
        [result] = tune.Tuner(
            tune.with_parameters(BurnZooTrainable, command=command),
            param_space={"learning_rate": 1e-3},
            run_config=run_config(
                tmp_path,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=2, checkpoint_at_end=True),
                failure_config=tune.FailureConfig(max_failures=1),
                callbacks=[KillNode()],
            ),
        ).fit()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert KillNode.node is None and result.error is None
    # A worker may live for another epoch after its node: the second part begins behind a checkpoint.
    told, frame = epochs(result), result.metrics_dataframe
    first, second = [row for row, count in enumerate(frame["iterations_since_restore"]) if count == 1]
    assert first == 0 and second >= 3
    assert told[:second] == list(range(1, second + 1)), told
    assert told[second] in (3, 5) and told[second:] == list(range(told[second], 7)), told
    pids = frame["pid"].tolist()
    assert len(set(pids[:second])) == len(set(pids[second:])) == 1 and pids[0] != pids[second]
    assert [epoch["epoch"] for epoch in log_of(f"{result.checkpoint.path}/run")] == [1, 2, 3, 4, 5, 6]
    # Nothing is left of the process on the lost node.
    wait_for(lambda: not processes("burn-zoo trial test_resnet"))
