import os
import shutil
import signal
import subprocess
import sys

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from common import INTEGRATIONS, TRIAL, log_of, processes, wait_for

TRIALS = 6


def start_worker(storage, runs, *flags):
    command = [sys.executable, INTEGRATIONS / "optuna/worker.py", f"--storage={storage}", f"--runs={runs}"]
    return subprocess.Popen([*command, f"--trials={TRIALS}", *flags, "--", *TRIAL, "--epochs=8"])


def kill_in_mid_trial(study, workers):
    """Kills one of the workers when its trial has told of an epoch: the number of the trial."""

    def killed():
        for trial in study().get_trials(states=[TrialState.RUNNING]):
            if 1 <= len(trial.intermediate_values) < 6:
                found = processes(f"--trial-id={trial.number} ")
                for worker in workers:
                    if worker.pid in [parent for parent, _ in found]:
                        worker.send_signal(signal.SIGKILL)
                        worker.wait()
                        return worker, trial.number
        return None

    worker, number = wait_for(killed)
    assert study().trials[number].state == TrialState.RUNNING
    return worker, number


def check_search(storage, opened, runs, *flags):
    """Runs a study on two workers of which one is killed, and checks what it comes to."""

    def study():
        return optuna.load_study(study_name="burn-zoo", storage=opened())

    workers = [start_worker(storage, runs, *flags) for _ in range(2)]
    try:
        wait_for(lambda: list(runs.glob("trial-*.json")))
        killed, number = kill_in_mid_trial(study, workers)
        [other] = [worker for worker in workers if worker is not killed]
        assert other.wait(timeout=120) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()

    trials = study().trials
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(ended) == TRIALS
    assert len({str(trial.params) for trial in ended}) == TRIALS
    # The killed one failed, and was run once more with its values, from its checkpoint.
    [failed] = [trial for trial in trials if trial not in ended]
    assert (failed.number, failed.state) == (number, TrialState.FAIL)
    [again] = [trial for trial in ended if trial.system_attrs.get("failed_trial") == number]
    assert again.params == failed.params
    assert failed.intermediate_values.items() <= again.intermediate_values.items()
    for trial in ended:
        folder = runs / f"trial-{trial.system_attrs.get('failed_trial', trial.number):04}"
        log = {epoch["epoch"]: epoch["valid_accuracy"] for epoch in log_of(folder)}
        assert list(log) == list(range(1, len(log) + 1))
        assert trial.intermediate_values.items() <= log.items()
        if trial.state == TrialState.COMPLETE:
            assert (len(log), trial.value) == (8, max(log.values()))
        else:
            assert len(log) < 8
    assert len(list(runs.glob("trial-*/"))) == TRIALS
    assert not processes(str(runs))


def test_journal_file(tmp_path):
    path = str(tmp_path / "study.journal")
    check_search(path, lambda: JournalStorage(JournalFileBackend(path)), tmp_path / "runs")


@pytest.fixture
def postgres(tmp_path_factory):
    if shutil.which("initdb") is None:
        pytest.skip("PostgreSQL is left out: there is no initdb here")
    folder = tmp_path_factory.mktemp("pg")
    user = []
    if os.geteuid() == 0:
        # It does not run as root.
        user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
        for parent in [folder, *folder.parents][:3]:
            parent.chmod(0o755)
    data = str(folder / "data")

    def run(*command):
        subprocess.run([*user, *command], check=True, stdout=subprocess.DEVNULL, cwd="/")

    run("initdb", "-D", data, "-U", "optuna", "--auth=trust", "--no-sync")
    options = f"-c listen_addresses='' -c fsync=off -k {folder}"
    run("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    yield f"postgresql+psycopg://optuna@/postgres?host={folder}"
    run("pg_ctl", "-D", data, "-m", "immediate", "stop")


def test_postgresql(postgres, tmp_path):
    check_search(postgres, lambda: postgres, tmp_path / "runs", "--heartbeat=1")
