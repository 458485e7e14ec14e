r"""How long it takes to begin, beside Python: medians of RUNS.

load      ResNet-50 from a safetensors file into a model, in one process: `burn-zoo bench --mode load`
          (strict, every value checked) beside safetensors.torch.load_file and load_state_dict(strict)
predict   from the start of the process to the printed answer for one image, ResNet-18 from a file;
          beside a Python program that does the same with timm

    cargo build --release
    python benches/start.py --threads 2

Run with: Python 3.11, torch 2.15.0 (CPU), timm 1.0.31, safetensors 0.8.0
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

BURN_ZOO = Path(__file__).resolve().parent.parent / "target" / "release" / "burn-zoo"
RUNS = 9

PYTHON = """
import sys, timm, torch
from PIL import Image
torch.set_num_threads(int(sys.argv[3]))
model = timm.create_model("resnet18", checkpoint_path=sys.argv[1]).eval()
steps = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
with torch.inference_mode():
    print(model(steps(Image.open(sys.argv[2]).convert("RGB"))[None]).softmax(1).topk(5))
"""


def median(run):
    times = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def main():
    parser = argparse.ArgumentParser(description="Loading and predicting beside Python.")
    parser.add_argument("--threads", type=int, required=True)
    threads = str(parser.parse_args().threads)
    torch.set_num_threads(int(threads))
    folder = Path(tempfile.mkdtemp())

    file = folder / "resnet50.safetensors"
    save_file(timm.create_model("resnet50").state_dict(), file)
    command = [BURN_ZOO, "bench", "resnet50", "--mode", "load", "--weights", file, "--steps", str(RUNS)]
    result = subprocess.run([*command, "--threads", threads, "--json"], capture_output=True, check=True)
    ours = json.loads(result.stdout)["seconds"]

    def load():
        timm.create_model("resnet50").load_state_dict(load_file(file))

    with torch.device("meta"):
        empty = timm.create_model("resnet50")
    theirs = median(load)
    alone = median(lambda: empty.load_state_dict(load_file(file), assign=True))
    print(f"load ResNet-50: burn-zoo {ours:.3f} s; Python {theirs:.3f} s with an initialised model, "
          f"{alone:.3f} s into an empty one")

    weights = folder / "resnet18.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), weights)
    picture = folder / "picture.jpg"
    Image.effect_mandelbrot((640, 480), (-2, -1.2, 1, 1.2), 100).convert("RGB").save(picture)

    def predict():
        command = [BURN_ZOO, "predict", "resnet18", picture, "--weights", weights, "--threads", threads]
        subprocess.run(command, capture_output=True, check=True)

    program = folder / "predict.py"
    program.write_text(PYTHON)

    def python():
        command = [sys.executable, program, weights, picture, threads]
        subprocess.run(command, capture_output=True, check=True)

    print(f"predict, process start to answer: burn-zoo {median(predict):.3f} s; Python {median(python):.3f} s")


if __name__ == "__main__":
    main()
