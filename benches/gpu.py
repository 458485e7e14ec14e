r"""burn-zoo on a GPU, beside PyTorch, within a limit of time: one JSON file and one Markdown page.

parity    logits of one model of each family from the same random weights, on the CPU and on the GPU
start     a whole process with an empty autotune cache, and once more with what that one left in it
finetune  ResNet-18 on FashionMNIST, from the start of the process to its end
nccl      a run on a list of one GPU
steps     `burn-zoo bench` beside PyTorch eager and compiled, the most important rows first

Each part has its limit. What did not fit, or what this machine or this build cannot do, is listed as
left out; what went wrong, as failed, and then the exit status is 1. Results are written after each
measurement, so that a run that is stopped leaves what it has.

Command:  bash benches/gpu.sh [--device cuda] [--out DIR] [--minutes 12] [--parts steps] [--tiny]
"""

import argparse
import contextlib
import datetime
import gc
import io
import json
import os
import platform
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy

from compare import processor, what

# Side, channels, batch, steps: the full size, and the size of a trial.
SHAPES = [(224, 3, 256, 15), (28, 1, 1024, 30)]
TINY_SHAPES = [(64, 3, 4, 2), (28, 1, 8, 2)]
MODELS = ["resnet18", "resnet50", "vit_small_patch16_224", "convnext_tiny"]
TINY_MODELS = ["test_resnet", "test_convnext"]
PARTS = ("parity", "start", "finetune", "nccl", "steps")
PROGRAMS = ("burn-zoo", "PyTorch", "compiled")
PRECISIONS = ("f32", "tf32", "bf16")

# Of the whole time. The rest is the steps'.
SHARES = {"parity": 0.17, "start": 0.13, "finetune": 0.12, "nccl": 0.05}
# Seconds for one measurement of a step. burn tunes its kernels in it, PyTorch compiles.
LIMITS = {"burn-zoo": 60, "PyTorch": 30, "compiled": 60}

# Logits are within this of the CPU's, relative to the largest of them.
AS_F32 = 1e-4  # other orders of summation
AS_TF32 = 2e-2  # factors rounded to 10 bits

TF32 = (
    "TF32: PyTorch by `torch.backends.cuda.matmul.allow_tf32` and `torch.backends.cudnn.allow_tf32`. burn-zoo has no "
    "switch: of f32's kernels cubecl's autotuner takes the fastest, those of tensor cores among them, which round "
    "factors to TF32. So its f32 figure stands in both rows; the agreement below shows how it rounded, and "
    "`autotune.jsonl` which kernels were taken."
)


class LeftOut(Exception):
    """Not measured, and why."""


class TooSlow(LeftOut):
    """It had its own limit, and did not end."""


class Failed(Exception):
    """A program ended with an error, or its result is wrong."""


class Clock:
    def __init__(self, minutes):
        self.began = time.monotonic()
        self.total = minutes * 60
        # Ending programs and writing take some seconds, too.
        self.end = self.until = self.began + self.total - 10

    def part(self, name):
        share = SHARES.get(name, 1.0)
        self.until = min(self.end, time.monotonic() + share * self.total)

    def left(self):
        return self.until - time.monotonic()

    def limit(self, seconds):
        """Seconds that a program may take."""
        if self.left() < 3:
            raise LeftOut("no time was left")
        return min(self.left(), seconds)

    def slow(self, seconds):
        text = f"it did not end within {seconds:.0f} s"
        return TooSlow(text) if self.left() > 3 else LeftOut(f"{text}, when the time was up")

    def passed(self):
        return time.monotonic() - self.began


def end(process):
    """Ends a program and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class GpuMemory:
    """What is in use on the GPU, by all programs, ten times a second. On a CPU: nothing."""

    def __init__(self, device):
        self.now = self.peak = None
        self.process = None
        if device == "cuda" and shutil.which("nvidia-smi"):
            query = ["nvidia-smi", "-i", "0", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "100"]
            self.process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True, start_new_session=True)
            threading.Thread(target=self.read, daemon=True).start()
            time.sleep(2)

    def read(self):
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.now = int(line) << 20
                self.peak = max(self.peak or 0, self.now)

    def begin(self):
        """Forgets the peak; what is in use now."""
        if self.now is not None:
            time.sleep(0.3)  # what the program before freed is gone from the readings
        self.peak = self.now
        return self.now

    def since(self, base):
        return None if base is None else max(0, self.peak - base)

    def close(self):
        if self.process:
            end(self.process)


class Torch:
    """A process that measures with benches/pytorch.py, again and again: importing torch takes seconds."""

    def __init__(self, folder, clock):
        self.clock = clock
        self.log = folder / "torch.log"
        self.environment = dict(os.environ, TORCHINDUCTOR_CACHE_DIR=str(folder / "inductor"))
        self.process = None

    def start(self):
        """Versions."""
        pipe = subprocess.PIPE
        command = [sys.executable, __file__, "--worker"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=self.environment, start_new_session=True
            )
        return self.answer(120)

    def measure(self, arguments, seconds):
        if self.process is None:
            self.start()
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        return self.answer(seconds)

    def answer(self, seconds):
        seconds = self.clock.limit(seconds)
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.close()
            raise Failed(last_line(self.log.read_text())) if ready else self.clock.slow(seconds)
        answer = json.loads(line)
        if "error" in answer:
            self.close()  # after an error of CUDA a process can do no more
            raise Failed(answer["error"])
        return answer

    def close(self):
        if self.process:
            end(self.process)
            self.process = None


def worker():
    """The other side of `Torch`: arguments of pytorch.py by line, one JSON line back."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import torch

    import pytorch

    gpu = torch.cuda.is_available()
    versions = {"torch": torch.__version__.split("+")[0], "timm": pytorch.timm.__version__, "cuda": torch.version.cuda}
    versions["gpu"] = torch.cuda.get_device_name() if gpu else None
    print(json.dumps(versions), file=answers)
    for line in sys.stdin:
        sys.argv = ["pytorch.py", *json.loads(line)]
        # Nothing of the measurement before counts.
        torch._dynamo.reset()
        gc.collect()
        if gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                pytorch.main()
            answer = json.loads(output.getvalue())
        except (Exception, SystemExit) as error:
            lines = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {lines[0][:300]}"}
        gc.collect()
        if gpu:
            torch.cuda.empty_cache()
        print(json.dumps(answer), file=answers)


def stop(text):
    """It cannot even begin."""
    print(f"gpu.sh: {text}", file=sys.stderr)
    sys.exit(2)


def last_line(text):
    """The message at the end of what a program wrote; Rust's and PyTorch's hints follow theirs."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lower().startswith("note: ")]
    return lines[-1][:300] if lines else "no message"


class Bench:
    def __init__(self, args):
        self.args = args
        self.binary = str(Path(os.environ["BURN_ZOO"]).resolve())
        self.threads = str(os.cpu_count())
        self.models = TINY_MODELS if args.tiny else MODELS
        self.shapes = TINY_SHAPES if args.tiny else SHAPES
        self.clock = Clock(args.minutes)
        self.folder = Path(tempfile.mkdtemp(prefix="burn-zoo-gpu-"))
        self.lock = threading.Lock()
        args.out.mkdir(parents=True, exist_ok=True)
        self.decisions = args.out.resolve() / "autotune.jsonl"
        self.decisions.unlink(missing_ok=True)
        self.environment = environment(self.folder)
        self.results = {
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "finished": False,
            "minutes": args.minutes,
            "device": args.device,
            "tiny": args.tiny,
            "tf32": TF32 if args.device == "cuda" else "TF32: a CPU has none.",
            "settings": {key: value for key, value in os.environ.items() if key.startswith("CUBECL_")},
            "notes": [],
            "parity": [],
            "start": [],
            "finetune": None,
            "nccl": None,
            "steps": [],
            "left_out": [],
            "failed": [],
        }
        self.torch = Torch(self.folder, self.clock)
        self.memory = GpuMemory(args.device)
        self.floor = self.memory.begin()

    def close(self):
        self.torch.close()
        self.memory.close()
        self.write()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Running

    def cache(self, name):
        """A folder to run in whose autotune cache is its own: cubecl looks there for its settings."""
        folder = self.folder / "cache" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cubecl.toml").write_text(
            f"[environment]\npath = {{ directory = {json.dumps(str(folder))} }}\n"
            f"[autotune.decisions]\nfile = {json.dumps(str(self.decisions))}\n"
        )
        return folder

    def run(self, arguments, cache, seconds, **more):
        """What the command prints, and the seconds that it took from start to end."""
        seconds = self.clock.limit(seconds)
        began = time.perf_counter()
        process = subprocess.Popen(
            [self.binary, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.cache(cache),
            env={**self.environment, **more},
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            end(process)
            raise self.clock.slow(seconds) if isinstance(error, subprocess.TimeoutExpired) else error from None
        if process.returncode != 0:
            raise Failed(last_line(errors))
        return output, time.perf_counter() - began

    def attempt(self, name, function, *arguments):
        """The function's value; None if it was left out or failed, which is noted."""
        try:
            return function(*arguments)
        except LeftOut as reason:
            self.note("left_out", name, reason)
        except Failed as reason:
            self.note("failed", name, reason)
        except (OSError, ValueError, LookupError) as reason:
            self.note("failed", name, repr(reason))
        return None

    def note(self, where, name, why):
        with self.lock:
            self.results[where].append({"what": name, "why": str(why)})
        self.say(f"{name}: {where.replace('_', ' ')}: {why}")

    def say(self, text):
        print(f"[{self.clock.passed():5.0f} s] {text}", file=sys.stderr, flush=True)

    def write(self):
        self.results["seconds"] = round(self.clock.passed(), 1)
        self.results["steps"].sort(key=self.place)
        (self.args.out / "gpu.json").write_text(json.dumps(self.results, indent=2) + "\n")
        (self.args.out / "gpu.md").write_text("\n".join(page(self.results)) + "\n")

    def place(self, step):
        """Where a measurement stands in the table."""
        shape = [shape[0] for shape in self.shapes].index(step["image_size"])
        row = (self.models.index(step["model"]), shape, step["mode"] == "infer")
        return *row, PRECISIONS.index(step["precision"]), PROGRAMS.index(step["program"])

    # Parts

    def check(self):
        """Versions; ends here if the GPU, the command or PyTorch is not there."""
        cuda = self.args.device == "cuda"
        try:
            versions = self.torch.start()
        except (Failed, LeftOut) as error:
            stop(f"PYTHON: {sys.executable}: torch and timm do not start: {error}")
        if cuda and versions["gpu"] is None:
            stop(f"PYTHON: {sys.executable}: torch {versions['torch']} finds no CUDA device")
        probe = ["bench", "test_resnet", "--image-size", 32, "--steps", 1, "--device", self.args.device, "--json"]
        try:
            device = json.loads(self.run(probe, "probe", 120)[0])["device"]
            versions["burn-zoo"] = self.run(["--version"], "probe", 10)[0].split()[-1]
            self.zoo = json.loads(self.run(["list", "--json"], "probe", 30)[0])
            self.finetune_flags = self.run(["finetune", "--help"], "probe", 10)[0]
        except (Failed, LeftOut) as error:
            stop(f"BURN_ZOO: {self.binary}: {error}")
        versions.update(processor=processor(), system=platform.platform(), threads=int(self.threads))
        if cuda:
            query = ["nvidia-smi", "-i", "0", "--query-gpu=driver_version", "--format=csv,noheader"]
            with contextlib.suppress(OSError):
                versions["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
            if self.memory.now is None:
                self.note("left_out", "peak memory", "nvidia-smi does not answer")
        self.results["versions"] = versions
        self.say(f"burn-zoo {versions['burn-zoo']} on {device}, PyTorch {versions['torch']}")

    def parity(self):
        ours, chosen = self.models, {}
        for model in sorted(self.zoo, key=lambda model: model["macs"]):
            # Of each family the smallest, or the smallest whose steps are measured.
            known = chosen.get(model["family"])
            if known is None or (model["name"] in ours and known["name"] not in ours):
                chosen[model["family"]] = model
        order = sorted(chosen.values(), key=lambda model: (model["name"] not in ours, model["macs"]))
        jobs = max(1, os.cpu_count() // 3)
        threads = max(1, os.cpu_count() // jobs)
        caches = [f"parity-{number}" for number in range(jobs)]

        def one(model):
            with self.lock:
                cache = caches.pop()
            try:
                row = self.attempt(f"parity of {model['family']}", self.agreement, model, cache, threads)
            finally:
                with self.lock:
                    caches.append(cache)
            if row:
                with self.lock:
                    self.results["parity"].append(row)
                    self.results["parity"].sort(key=lambda row: row["family"])
                    self.write()

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, order[: 3 if self.args.tiny else None]))
        if self.args.tiny:
            self.note("left_out", f"parity of {len(order) - 3} families more", "a trial has three")

    def agreement(self, model, cache, threads):
        side, name = model["image_size"], model["name"]
        files = {key: self.folder / f"{name}-{key}.safetensors" for key in ("input", "cpu", "device")}
        images = numpy.random.default_rng(0).standard_normal((2, 3, side, side), numpy.float32)
        write_tensor(files["input"], "input", images)
        common = ["logits", name, "--weights", "random", "--seed", 0, "--input", files["input"]]
        for key, device in (("cpu", "cpu"), ("device", self.args.device)):
            self.run([*common, "--output", files[key], "--threads", threads, "--device", device], cache, 60)
        cpu, other = (read_tensors(files[key]) for key in ("cpu", "device"))
        for file in files.values():
            file.unlink()
        errors = {}
        for key, expected in cpu.items():
            largest = float(abs(expected).max())
            if not (numpy.isfinite(expected).all() and numpy.isfinite(other[key]).all()):
                raise Failed(f"{name}: `{key}` is not finite")
            if largest > 0:
                errors[key] = float(abs(other[key] - expected).max()) / largest
        # A head that starts at zero gives no logits to compare.
        logits = errors.get("logits", errors.get("pre_logits"))
        worst = max(errors, key=errors.get)
        if logits > AS_TF32:
            raise Failed(f"{name}: logits differ by {logits:.1e}, and most of all `{worst}`, by {errors[worst]:.1e}")
        row = {"family": model["family"], "model": name, "logits": logits, "worst": errors[worst], "where": worst}
        row["as"] = "f32" if logits <= AS_F32 else "TF32"
        self.say(f"parity {name}: {logits:.1e}")
        return row

    def start(self):
        model, (side, channels, _, _) = self.models[0], self.shapes[0]
        batch = 4 if self.args.tiny else 32
        for mode in ("infer", "train"):
            shape = (mode, "sgd" if mode == "train" else None, side, channels, batch, 0)
            name = f"{model}, {what(shape)}, 3 steps"
            command = ["bench", model, "--mode", mode, "--image-size", side, "--batch-size", batch, "--steps", 1]
            command += ["--device", self.args.device, "--json"]
            row = {"what": name, "without": None, "with": None}
            for kind in ("without", "with"):
                run = self.attempt(f"start {kind} the cache, {name}", self.run, command, f"start-{mode}", 60)
                if run is None:
                    if kind == "without":
                        self.note("left_out", f"start with the cache, {name}", "the start without it did not end")
                    break
                row[kind] = run[1]
            self.results["start"].append(row)
            self.write()
        if self.args.device == "cpu":
            self.results["notes"].append("start: a CPU has no autotune cache, both starts are alike")

    def finetune_command(self, weights, *more):
        full = Path(self.environment.get("FASHION_MNIST_DIR", "no such folder")).is_dir()
        data = "fashion-mnist" if full else "fashion-mnist-mini"
        command = ["finetune", "resnet18", "--data", data, "--weights", weights, "--seed", 1, "--batch-size", 256]
        command += ["--no-report", "--tensorboard", "off", "--out", self.folder / "run", "--overwrite", "--json"]
        return [*command, *(["--limit-train", 256, "--limit-test", 100] if self.args.tiny else []), *more]

    def finetune(self):
        def one(weights):
            epochs = 1 if self.args.tiny else 5
            command = self.finetune_command(weights, "--epochs", epochs, "--test", "--device", self.args.device)
            base = self.memory.begin()
            output, wall = self.run(command, "main", 600)
            result = json.loads(output)
            log = (self.folder / "run" / "log.jsonl").read_text().splitlines()
            seconds = [json.loads(line)["seconds"] for line in log]
            return {
                "data": command[3],
                "weights": weights,
                "epochs": result["epochs"],
                "train_images": json.loads(log[-1])["train_images"],
                "wall_seconds": wall,
                "first_epoch_seconds": seconds[0],
                "epoch_seconds": statistics.median(seconds),
                "valid_accuracy": result["valid_accuracy"],
                "test_accuracy": result["test_accuracy"],
                "memory_bytes": self.memory.since(base),
            }

        def either():
            try:
                return one("bundled")
            except Failed as error:
                if "bundled" not in str(error):
                    raise
                self.results["notes"].append(f"finetune: from random weights: {error}")
                return one("random")

        self.results["finetune"] = self.attempt("fine-tuning run", either)

    def nccl(self):
        def one():
            if self.args.device == "cpu":
                raise LeftOut("it needs a GPU")
            if "--devices" not in self.finetune_flags:
                raise LeftOut("this build's `finetune` has no `--devices`")
            log = self.folder / "nccl.log"
            more = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_FILE": str(log), **nccl_path(self.folder)}
            command = self.finetune_command("random", "--epochs", 1, "--devices", "cuda:0")
            command += ["--limit-train", 1024] if not self.args.tiny else []
            output, wall = self.run(command, "main", 600, **more)
            # NCCL writes the file when it is first used, which with one rank need not happen.
            used = log.exists() and "NCCL version" in log.read_text(errors="replace")
            return {"wall_seconds": wall, "valid_accuracy": json.loads(output)["valid_accuracy"], "nccl_used": used}

        self.results["nccl"] = self.attempt("NCCL with one rank", one)

    def jobs(self):
        """The measurements of steps, the most important first. Compiling takes longest, so that of a size only bf16
        is compiled before the next size begins."""
        compiled = {"bf16": 1, "tf32": 2 * len(self.shapes), "f32": 2 * len(self.shapes) + 1}
        jobs = []
        for place, (side, channels, batch, steps) in enumerate(self.shapes):
            for model in self.models:
                least = next((m["least_size"] for m in self.zoo if m["name"] == model), None) or 1
                if side < least:
                    self.note("left_out", f"{model} at {side} px", f"it takes {least} px and more")
                    continue
                for mode in ("infer", "train"):
                    row = {"model": model, "mode": mode, "image_size": side, "channels": channels}
                    row.update(batch_size=batch, steps=steps)
                    for precision in PRECISIONS:
                        for program in PROGRAMS:
                            # burn-zoo has no switch for TF32, and a CPU has none.
                            if precision == "tf32" and (program == "burn-zoo" or self.args.device == "cpu"):
                                continue
                            rank = 2 * place
                            if program == "compiled":
                                rank = max(rank + 1, compiled[precision])
                            jobs.append((rank, {**row, "precision": precision, "program": program}))
        return [job for _, job in sorted(jobs, key=lambda job: job[0])]

    def steps(self):
        slow = []
        for job in self.jobs():
            self.step(job, slow)
        # Kernels that were tuned in the first try are in the cache now.
        for job, reason in slow:
            self.step(job, None, f", once more ({reason})")

    def step(self, job, slow, remark=""):
        """One measurement; one that is too slow is put into `slow`, and left out if there is none."""
        program, precision = job["program"], job["precision"]
        optimizer = "sgd" if job["mode"] == "train" else None
        row = (job["mode"], optimizer, job["image_size"], job["channels"], job["batch_size"], job["steps"])
        name = f"{job['model']}, {what(row)}, {precision}, {program}{remark}"
        arguments = [job["model"], "--device", self.args.device, "--precision", precision, "--threads", self.threads]
        for key in ("mode", "image_size", "batch_size", "steps"):
            arguments += ["--" + key.replace("_", "-"), str(job[key])]
        arguments += ["--in-channels", str(job["channels"])]
        seconds = LIMITS[program]

        def measure():
            self.clock.limit(seconds)
            base = self.memory.begin()
            try:
                if program == "burn-zoo":
                    found = json.loads(self.run(["bench", *arguments, "--json"], "main", seconds)[0])
                    host = found["peak_memory_bytes"]
                else:
                    more = ["--compile"] if program == "compiled" else []
                    found = self.torch.measure([*arguments, *more], seconds)
                    # Its process stays, and so does the context that it has on the GPU.
                    base, host = self.floor, None
            except TooSlow as reason:
                if slow is None:
                    raise
                slow.append((job, reason))
                self.say(f"{name}: {reason}; once more at the end")
                return None
            memory = self.memory.since(base) if self.args.device == "cuda" else host
            return {"images_per_second": found["images_per_second"], "memory_bytes": memory}

        found = self.attempt(name, measure)
        if found:
            self.results["steps"].append({**job, **found})
            self.say(f"{name}: {found['images_per_second']:.0f} images/s")
            self.write()

    def all(self):
        self.check()
        for name in PARTS:
            if name not in self.args.parts:
                self.note("left_out", name, "not asked for")
                continue
            self.clock.part(name)
            self.say(f"{name}, at most {self.clock.left():.0f} s")
            getattr(self, name)()
            self.write()
        self.results["finished"] = True


def environment(folder):
    """What the command is started with, whatever folder it runs in."""
    found = dict(os.environ)
    if "FASHION_MNIST_DIR" in found:
        found["FASHION_MNIST_DIR"] = str(Path(found["FASHION_MNIST_DIR"]).resolve())
    # Kernels with exp, log and the like need libdevice, of the CUDA toolkit or else of Triton.
    library = Path("nvvm", "libdevice", "libdevice.10.bc")
    roots = [found["CUDA_PATH"]] if "CUDA_PATH" in found else ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"]
    if not any((Path(root) / library).is_file() for root in roots):
        for file in in_packages("triton/backends/nvidia/lib/libdevice.10.bc"):
            link = folder / "cuda" / library
            link.parent.mkdir(parents=True)
            link.symlink_to(file)
            found["CUDA_PATH"] = str(folder / "cuda")
            break
    return found


def in_packages(pattern):
    return (file for place in sys.path if place for file in Path(place).glob(pattern))


def nccl_path(folder):
    """PyTorch's NCCL, under a name by which cubecl looks for it."""
    for file in in_packages("nvidia/nccl/lib/libnccl.so.2"):
        link = folder / "nccl" / "libnccl.so"
        link.parent.mkdir()
        link.symlink_to(file)
        return {"LD_LIBRARY_PATH": f"{link.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    return {}


def write_tensor(file, name, values):
    header = {name: {"dtype": "F32", "shape": values.shape, "data_offsets": [0, values.nbytes]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + values.tobytes())


def read_tensors(file):
    data = file.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        first, last = info["data_offsets"]
        tensors[name] = numpy.frombuffer(data[start + first : start + last], "<f4").reshape(info["shape"])
    return tensors


# Page


def page(results):
    versions = results.get("versions", {})
    place = versions.get("gpu") if results["device"] == "cuda" else versions.get("processor")
    driver = f", driver {versions['driver']}" if versions.get("driver") else ""
    yield (
        f"{place}{driver}; burn-zoo {versions.get('burn-zoo')}, PyTorch {versions.get('torch')}, timm "
        f"{versions.get('timm')}; {results['started'][:10]}, {results.get('seconds', 0):.0f} s in all."
    )
    if not results["finished"]:
        yield "It was stopped before its end: what is neither here nor in the lists below was not measured."
    if results["tiny"]:
        yield "A trial of the script with tiny settings: its figures mean nothing."
    if results["settings"]:
        yield "Set: " + ", ".join(f"`{key}={value}`" for key, value in results["settings"].items()) + "."
    yield ""
    yield from steps_table(results)
    for part in (parity_table, start_table, run_table):
        lines = list(part(results))
        if lines:
            yield ""
            yield from lines
    for key, title in (("notes", "Notes"), ("left_out", "Left out"), ("failed", "Failed")):
        yield from ["", f"### {title}", ""]
        entries = results[key]
        if key != "notes":
            reasons = {}
            for entry in entries:
                reasons.setdefault(entry["why"], []).append(entry["what"])
            entries = [f"{'; '.join(names)}: {why}" for why, names in reasons.items()]
        yield from [f"- {entry}" for entry in entries] or ["Nothing."]


def steps_table(results):
    yield from ["### Steps", ""]
    memory = "Memory is burn-zoo's largest resident set."
    if results["device"] == "cuda":
        memory = "Memory is the most in use on the GPU beyond what was before: burn-zoo / PyTorch / compiled."
    yield (
        "Images per second, medians over the steps; \"ratio\" is burn-zoo's figure over the one before it. PyTorch in "
        f"its default memory format, bf16 by autocast. {memory}"
    )
    yield from ["", results["tf32"], ""]
    yield "| model | what | precision | burn-zoo | PyTorch | ratio | compiled | ratio | memory, MiB |"
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|"
    rows = {}
    for step in results["steps"]:
        optimizer = "sgd" if step["mode"] == "train" else None
        shape = (step["mode"], optimizer, step["image_size"], step["channels"], step["batch_size"], 0)
        rows.setdefault((step["model"], what(shape), step["precision"]), {})[step["program"]] = step
    for (model, shape, precision), found in rows.items():
        ours = found.get("burn-zoo")
        if precision == "tf32":
            ours = rows.get((model, shape, "f32"), {}).get("burn-zoo")
        cells = [model, shape, precision, "", "", "", "", ""]
        if ours:
            cells[3] = f"{ours['images_per_second']:.0f}" + (" (f32)" if precision == "tf32" else "")
        for column, program in ((4, "PyTorch"), (6, "compiled")):
            if program in found:
                theirs = found[program]["images_per_second"]
                cells[column] = f"{theirs:.0f}"
                cells[column + 1] = f"{ours['images_per_second'] / theirs:.2f}" if ours else ""
        sizes = [found.get(program, {}).get("memory_bytes") for program in PROGRAMS]
        sizes = sizes if results["device"] == "cuda" else sizes[:1]
        cells.append(" / ".join("-" if size is None else str(size >> 20) for size in sizes))
        yield "| " + " | ".join(cells) + " |"


def parity_table(results):
    rows = results["parity"]
    if not rows:
        return
    other = "the GPU" if results["device"] == "cuda" else "the CPU once more"
    like_f32 = sum(row["as"] == "f32" for row in rows)
    rest = f"; the others within {AS_TF32:.0e}, as TF32 does" if like_f32 < len(rows) else ""
    yield from ["### Agreement", ""]
    yield (
        f"The CPU and {other}, random weights, two images: the largest difference of the logits, and of any group's "
        f"output, over the largest value. {like_f32} of {len(rows)} families are within {AS_F32:.0e}, as f32 "
        f"rounds{rest}."
    )
    yield from ["", "| family | model | logits | most | at | as |", "|---|---|---:|---:|---|---|"]
    for row in rows:
        sizes = f"{row['logits']:.1e} | {row['worst']:.1e} | {row['where']}"
        yield f"| {row['family']} | `{row['model']}` | {sizes} | {row['as']} |"


def start_table(results):
    if not results["start"]:
        return
    yield from ["### First start", "", "A whole process, in seconds, without and with the autotune cache.", ""]
    yield from ["| what | without | with |", "|---|---:|---:|"]
    for row in results["start"]:
        times = ["" if row[kind] is None else f"{row[kind]:.1f}" for kind in ("without", "with")]
        yield f"| {row['what']} | {times[0]} | {times[1]} |"


def run_table(results):
    run, nccl = results["finetune"], results["nccl"]
    if run:
        size = "" if run["memory_bytes"] is None else f", {run['memory_bytes'] >> 20} MiB on the GPU"
        yield from ["### A run", ""]
        yield (
            f"`finetune resnet18`, `{run['data']}`, {run['train_images']} images, batch 256, {run['weights']} weights, "
            f"epochs: {run['epochs']}: {run['wall_seconds']:.1f} s from start to end; the first epoch "
            f"{run['first_epoch_seconds']:.1f} s, the median one {run['epoch_seconds']:.1f} s; accuracy "
            f"{run['valid_accuracy']:.3f} in validation, {run['test_accuracy']:.3f} in the test{size}."
        )
    if nccl:
        used = "NCCL was used" if nccl["nccl_used"] else "NCCL was not used: one rank has nothing to reduce"
        yield from ["", f"On the list `--devices cuda:0`: {nccl['wall_seconds']:.1f} s; {used}."]


def main():
    if sys.argv[1:] == ["--worker"]:
        return worker()
    parser = argparse.ArgumentParser(prog="gpu.sh", description="burn-zoo on a GPU beside PyTorch.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("target/gpu"), help="folder for gpu.json and gpu.md")
    parser.add_argument("--minutes", type=float, help="the whole time: 12, with --tiny 4")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=PARTS, help=f"of {','.join(PARTS)}")
    parser.add_argument("--tiny", action="store_true", help="tiny settings, to try the script itself")
    args = parser.parse_args()
    args.minutes = args.minutes or (4 if args.tiny else 12)
    if args.minutes < 1 or not set(args.parts) <= set(PARTS):
        parser.error(f"--minutes: at least 1; --parts: some of {','.join(PARTS)}")
    if "BURN_ZOO" not in os.environ:
        parser.error("BURN_ZOO is not set: start it by `bash benches/gpu.sh`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(args)
    try:
        bench.all()
    finally:
        bench.close()
    print((args.out / "gpu.md").read_text(), end="")
    return 1 if bench.results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
