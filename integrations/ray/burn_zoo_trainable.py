"""A Ray Tune trainable that runs `burn-zoo trial` in a process of its own.

The process waits for an answer after each epoch, so it never trains ahead of the scheduler. It ends by
itself when Ray's worker dies, because its standard input ends.

The config of a trial holds fields of the recipe by their names (`learning_rate`, `optimizer.momentum`).
Everything that all trials share belongs to the command:

    tune.with_parameters(BurnZooTrainable, command=["burn-zoo", "trial", "resnet18", "--epochs", "9"])

Paths in the command have to be absolute: Ray changes the working directory.
"""

import contextlib
import json
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

from ray import tune


class BurnZooTrainable(tune.Trainable):
    """A checkpoint is the run folder with the config that it began with.

    - **The same config** (a trial that was paused, or lost its node): the run goes on as if it had never
      stopped.
    - **Another config** (PBT's exploit): a run keeps the recipe that it began with. So a new run starts from
      the checkpoint's weights, for the epochs that are left, with every value of the new config. The
      optimizer starts anew, and so does the schedule, over these epochs. Epochs are counted on.

    Each checkpoint costs a start of the process: it ends to write one, and the next step starts it again.
    """

    def setup(self, config, command):
        self.command = command
        self._set_up(config)

    def reset_config(self, new_config):
        self.cleanup()
        self._set_up(new_config)
        return True

    def _set_up(self, config):
        self.process = None
        # As a checkpoint will have it, for the comparison.
        self.params = json.loads(json.dumps(config))
        # A new name: a process of an actor that was killed may still write its last checkpoint.
        self.dir = Path(tempfile.mkdtemp(prefix="burn-zoo-", dir=self.logdir))
        self.run, self.begun, self.log = self.dir / "run", self.dir / "begun.json", self.dir / "log"

    def step(self):
        if self.process is None:
            self._start()
        else:
            # Why a process has ended is told below.
            with contextlib.suppress(BrokenPipeError):
                print("continue", file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise self._error()
        result = json.loads(line)
        result["training_iteration"] += self.epochs_before
        return result

    def save_checkpoint(self, checkpoint_dir):
        if self.process is not None:
            self.process.communicate("pause\n")
            if self.process.returncode != 0:
                raise self._error()
            self.process = None
        ignore = shutil.ignore_patterns("features", "*.lock", "log", "weights.safetensors", "params.json")
        shutil.copytree(self.dir, checkpoint_dir, ignore=ignore, dirs_exist_ok=True)

    def load_checkpoint(self, checkpoint_dir):
        self.cleanup()
        shutil.copytree(checkpoint_dir, self.dir)

    def cleanup(self):
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError), self.process:
                self.process.kill()
            self.process = None
        shutil.rmtree(self.dir)

    def _start(self):
        begun = {"params": self.params, "epochs_before": 0, "changes": {}}
        if self.begun.exists():
            begun = json.loads(self.begun.read_text())
        if begun["params"] != self.params:
            changes, done = self._take_weights()
            done += begun["epochs_before"]
            begun = {"params": self.params, "epochs_before": done, "changes": changes}
        self.begun.write_text(json.dumps(begun))
        self.epochs_before = begun["epochs_before"]
        cpus = self.trial_resources.required_resources.get("CPU", 1)
        params = self.dir / "params.json"
        # A run that goes on is told the values that it began with.
        params.write_text(json.dumps(self.params | begun["changes"]))
        flags = [f"--params-json={params}", f"--trial-id={self.trial_id}", f"--dir={self.run}"]
        flags += ["--resume", "--wait-for-answer", f"--threads={max(1, int(cpus))}"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*self.command, *flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _take_weights(self):
        """Ends the run that was loaded: what a new one takes from it, and the epochs it has done."""
        config = tomllib.loads((self.run / "config.toml").read_text())
        done = len((self.run / "log.jsonl").read_text().splitlines())
        weights = self.dir / "weights.safetensors"
        newest = max((self.run / "checkpoints").glob("epoch-*"))
        (newest / "model.safetensors").replace(weights)
        shutil.rmtree(self.run)
        return {"weights": str(weights), "epochs": config["recipe"]["epochs"] - done}, done

    def _error(self):
        tail = self.log.read_text().splitlines()[-10:]
        return RuntimeError("\n".join([f"{self.command[0]}: exit status {self.process.returncode}", *tail]))
