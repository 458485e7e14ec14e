"""What the tests share: small trials, and how to look at runs and processes."""

import json
import subprocess
import time
from pathlib import Path

INTEGRATIONS = Path(__file__).parents[1]

IMAGES = ["--data=fashion-mnist-mini", "--limit-train=300", "--limit-test=100"]
TRIAL = ["test_resnet", *IMAGES, "--weights=random", "--threads=1"]


def log_of(run):
    """The epochs that a run folder tells of."""
    return [json.loads(line) for line in (Path(run) / "log.jsonl").read_text().splitlines()]


def processes(text):
    """The parents and the command lines of the running processes that have this in their arguments."""
    command = ["ps", "-ww", "-e", "-o", "ppid=", "-o", "args="]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    return [(int(parent), args) for parent, args in rows if text in args]


def wait_for(condition, seconds=60):
    """What the condition gives once that is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return result
