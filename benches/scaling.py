r"""What to expect of 2 to 64 ranks: the model of docs/scaling.md, and its tables.

    t_step(n)      = t_compute * straggler(n) + max(0, t_allreduce(n) - overlap * t_backward)
    t_allreduce(n) = 2 (n-1)/n * bytes / bandwidth + 2 (n-1) * latency * buckets
    straggler(n)   = 1 + s * q((n - 0.375) / (n + 0.25))
    speed-up(n)    = n * t_step(1) / t_step(n)

The all-reduce is a ring (Patarasuk & Yuan, 2009). A step is as slow as its slowest rank: the third line
is the expected maximum of n normal step times with relative deviation s, by Blom's formula (1958); q is the
quantile of the normal distribution.

    python benches/scaling.py                             # the tables
    python benches/scaling.py --check docs/scaling.md     # whether the document has them
    python benches/scaling.py --rate 155 --batch 64 --parameters 11175370 --bandwidth 2.1 --latency 0.01

The last line is for figures of your own: images a second of one rank, images in a batch, numbers that
train, GB/s and milliseconds between ranks.

All inputs are constants below. Nothing beyond Python's standard library is needed.

Run with: Python 3.11
"""

import argparse
import math
import sys
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

RANKS = [2, 4, 8, 16, 32, 64]
BUCKET = 8 << 20
# How much of the way back hides communication: 0 is this version, 0.7 a version that sums while it goes back.
OVERLAPS = [0.0, 0.7]
# The way back takes twice as long as the way forward. Assumed.
BACKWARD = 2 / 3
# Relative deviation of a rank's step times. Assumed.
CPU_DEVIATION, GPU_DEVIATION = 0.05, 0.02

# Numbers that train when all layers do: zoo/numbers.csv.
PARAMETERS = {"ResNet-18": 11_689_512, "ResNet-50": 25_557_032, "ViT-B/16": 86_567_656}


class Work(NamedTuple):
    """What a rank computes in a step."""

    model: str
    rate: float  # images a second of one rank
    batch: int  # images of a rank
    pixels: int
    deviation: float
    source: str

    @property
    def parameters(self):
        return PARAMETERS[self.model]

    @property
    def seconds(self):
        return self.batch / self.rate


class Link(NamedTuple):
    """What joins the ranks: the slowest place of the ring."""

    name: str
    bandwidth: float  # bytes a second
    latency: float  # seconds
    source: str


# A host of two cores, SGD: docs/performance.md. ViT-B's training was not measured: inference (docs/speed.csv)
# times the quotient of training and inference of vit_tiny_patch16_224 at 224 pixels, batch 8.
VIT_BASE = 12 * 35.9 / 122.3
CPU = [
    Work("ResNet-18", 1628.1, 64, 28, CPU_DEVIATION, "measured"),
    Work("ResNet-18", 27.1, 8, 224, CPU_DEVIATION, "measured"),
    Work("ResNet-50", 10.9, 8, 224, CPU_DEVIATION, "measured"),
    Work("ViT-B/16", VIT_BASE, 8, 224, CPU_DEVIATION, "derived"),
]
# With the default batch, at the images a second of batches of 8.
CPU += [work._replace(batch=64, source=f"{work.source}, at batch 8") for work in CPU[1:]]

# An RTX 3090 in mixed precision: results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv of timm. An A100: ResNet-50
# in NVIDIA's DeepLearningExamples (2,470); the other two are assumed as much faster than on an RTX 3090.
RTX_3090 = {"ResNet-18": 3482, "ResNet-50": 1218, "ViT-B/16": 393}
A100 = {"ResNet-18": 7000, "ResNet-50": 2470, "ViT-B/16": 800}


def gpu(rates, sources):
    return [Work(model, rate, 64, 224, GPU_DEVIATION, sources.get(model, "assumed")) for model, rate in rates.items()]


WORKS_3090 = gpu(RTX_3090, dict.fromkeys(RTX_3090, "published"))
WORKS_A100 = gpu(A100, {"ResNet-50": "published"})

# 94 % of the line is what TCP leaves of frames of 1500 bytes. "Main memory" is how this version sums between GPUs.
SLOW = Link("1 Gbit/s, 1 ms", 0.117e9, 1e-3, "94 % of the line")
FAST = Link("10 Gbit/s, 0.1 ms", 1.17e9, 1e-4, "94 % of the line")
NVLINK = Link("NVLink", 200e9, 5e-6, "published, latency assumed")
PCIE = Link("PCIe 4.0", 10e9, 1e-5, "assumed")
MEMORY = Link("main memory", 2e9, 2e-5, "assumed")
NETWORK = Link("100 Gbit/s", 10e9, 2e-5, "assumed: 80 % of the line")
# Eight cards of 200 Gbit/s in each host.
RICH = Link("8 x 200 Gbit/s", 160e9, 2e-5, "assumed: 80 % of the lines")
# Two processes, 46.8 MB in 4 MB parts: 22, 57 and 72 ms.
SAME_HOST = [
    Link("Open MPI, shared memory", 46.758e6 / 22e-3, 0.0, "measured: 22 ms"),
    Link("Open MPI, TCP on one host", 46.758e6 / 57e-3, 0.0, "measured: 57 ms"),
    Link("gloo, TCP on one host", 46.758e6 / 72e-3, 0.0, "measured: 72 ms"),
]

# Feature extraction with ResNet-18, ten epochs: docs/performance.md, whole runs and steps.
IMAGES, EPOCHS = 54_000, 10
HEAD = 512 * 10 + 10
# Ten epochs of 188 steps of 64 images took 0.4 s.
HEAD_STEP = 0.4 / 1880
# Images a second of the one pass, and of training with all layers.
PASSES = {28: (6900, CPU[0]), 224: (129.4, CPU[4])}
# Exchanges of a few hundred bytes in each step, and MPI calls of each: lengths, then contents.
EXCHANGES, CALLS = 2, 2

# Images in a step of all ranks, where there are thousands: You et al. (2017) trained ResNet-50 with them.
GLOBAL_BATCH = 32_768


def straggler(ranks, deviation):
    return 1 + deviation * NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))


def buckets(parameters):
    return math.ceil(4 * parameters / BUCKET)


def all_reduce(parameters, link, ranks):
    moved = 2 * (ranks - 1) / ranks * 4 * parameters / link.bandwidth
    return moved + 2 * (ranks - 1) * link.latency * buckets(parameters)


def step(work, link, ranks, overlap=0.0):
    hidden = overlap * BACKWARD * work.seconds
    exposed = max(0.0, all_reduce(work.parameters, link, ranks) - hidden)
    return work.seconds * straggler(ranks, work.deviation) + exposed


def speed_up(work, link, ranks, overlap=0.0):
    return ranks * step(work, link, 1, overlap) / step(work, link, ranks, overlap)


def smallest_batch(work, link, ranks, efficiency=0.8):
    """Images of a rank from which on the speed-up is `efficiency * ranks`, if a second has as many images then."""
    left = 1 / efficiency - straggler(ranks, work.deviation)
    return math.ceil(work.rate * all_reduce(work.parameters, link, ranks) / left)


def features(pixels, link, ranks, batch):
    """Seconds of the pass over the images, in which nobody waits for anybody, and of ten epochs of the head."""
    rate, work = PASSES[pixels]
    status = EXCHANGES * CALLS * math.ceil(math.log2(ranks)) * link.latency
    head = HEAD_STEP * batch / 64 * straggler(ranks, work.deviation) + all_reduce(HEAD, link, ranks) + status
    return IMAGES / ranks / rate + EPOCHS * math.ceil(IMAGES / (batch * ranks)) * head


def all_layers(pixels, link, ranks):
    """Seconds of ten epochs in which everything trains."""
    work = PASSES[pixels][1]
    return EPOCHS * math.ceil(IMAGES / (work.batch * ranks)) * step(work, link, ranks)


def bubble(stages, parts):
    return (stages - 1) / (parts + stages - 1)


def number(value):
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def table(head, rows, left):
    """Markdown; the first `left` columns are words."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    lines[1] = "|" + "|".join(lines[1]) + "|"
    return "\n".join(line if isinstance(line, str) else "| " + " | ".join(map(str, line)) + " |" for line in lines)


def speed_ups(works, links, ranks, what="link"):
    named = len(links) > 1
    head = ["model", *([what] if named else []), "px", "images", "step, ms", "all-reduce at 2, ms", *map(str, ranks)]
    head += [f"{ranks[-1]}, overlap {OVERLAPS[1]:g}"]
    rows = []
    for link in links:
        for work in works[link.name] if named else works:
            figures = [speed_up(work, link, n) for n in ranks] + [speed_up(work, link, ranks[-1], OVERLAPS[1])]
            times = [1e3 * work.seconds, 1e3 * all_reduce(work.parameters, link, 2)]
            rows.append([work.model, *([link.name] if named else []), work.pixels, work.batch]
                        + [number(value) for value in times + figures])
    return table(head, rows, 2 if named else 1)


def of_inputs():
    rows = [[model, f"{count:,}", f"{4 * count / 1e6:.1f}", buckets(count)] for model, count in PARAMETERS.items()]
    yield "Models", table(["model", "parameters", "MB of gradients", "buckets"], rows, 1)

    rows = []
    for host, works in [("2 cores", CPU[:4]), ("RTX 3090", WORKS_3090), ("A100", WORKS_A100)]:
        rows += [[work.model, host, work.source, work.pixels, number(work.rate)] for work in works]
    yield "Images a second of one rank", table(["model", "rank", "figure", "px", "images/s"], rows, 3)

    rows = [[link.name, link.source, f"{link.bandwidth / 1e9:.3g}", f"{1e6 * link.latency:,.0f}"]
            for link in [SLOW, FAST, NVLINK, PCIE, MEMORY, NETWORK]]
    yield "Links", table(["link", "figure", "GB/s", "latency, \u00b5s"], rows, 2)


def of_hosts():
    rows = []
    for work in CPU[:4]:
        half = work._replace(rate=work.rate / 2)
        rows.append([work.model, work.pixels, work.batch, number(1e3 * half.seconds)]
                    + [number(speed_up(half, link, 2)) for link in SAME_HOST])
    head = ["model", "px", "images", "step, ms", *(link.name for link in SAME_HOST)]
    yield "Two ranks of one thread on one host", table(head, rows, 1)

    for link in [SLOW, FAST]:
        yield f"CPU hosts, {link.name}", speed_ups(CPU, [link], RANKS)
    works = {NVLINK.name: WORKS_A100, PCIE.name: WORKS_3090, MEMORY.name: WORKS_A100}
    yield "GPUs on one host", speed_ups(works, [NVLINK, PCIE, MEMORY], RANKS[:4])
    works = {NETWORK.name: WORKS_A100, MEMORY.name: WORKS_A100}
    yield "GPU hosts", speed_ups(works, [NETWORK, MEMORY], RANKS)

    rows = []
    for work, links in [(CPU[0], [SLOW, FAST]), *((work, [SLOW, FAST]) for work in CPU[1:4]),
                        *((work, [NVLINK, NETWORK, MEMORY]) for work in WORKS_A100)]:
        host = "A100" if work in WORKS_A100 else "2 cores"
        for link in links:
            rows.append([work.model, host, link.name, work.pixels]
                        + [f"{smallest_batch(work, link, n):,}" for n in [2, 8, 64] if link != NVLINK or n <= 8])
            rows[-1] += [""] * (7 - len(rows[-1]))
    head = ["model", "rank", "link", "px", "2 ranks", "8 ranks", "64 ranks"]
    yield "Images of a rank for 80 %", table(head, rows, 3)


def of_features():
    rows = []
    for pixels in PASSES:
        for link in [SLOW, FAST]:
            for batch in [64, 1024]:
                times = [features(pixels, link, n, batch) for n in [1, *RANKS]]
                rows.append([f"head, batches of {batch}", link.name, pixels, *map(number, times)])
            times = [all_layers(pixels, link, n) for n in [1, *RANKS]]
            rows.append(["all layers, batches of 64", link.name, pixels, *map(number, times)])
    yield "Frozen backbone", table(["what trains", "link", "px", "1 rank", *map(str, RANKS)], rows, 2)


def of_pipelines():
    parts = [1, 2, 4, 8, 16, 32]
    rows = []
    for stages in [2, 4, 8]:
        shares = [bubble(stages, count) for count in parts]
        rows.append([stages, *(f"{100 * share:.0f} %, {number(stages * (1 - share))}" for share in shares)])
    yield "Pipelines", table(["devices", "1 part", *(f"{count} parts" for count in parts[1:])], rows, 0)


def by_rings(parameters, ranks):
    """An all-reduce within hosts of eight over NVLink, and in a ring of hosts."""
    return all_reduce(parameters, NVLINK, 8) + all_reduce(parameters, NETWORK, ranks // 8)


def by_trees(parameters, ranks, network=NETWORK, width=4):
    """The same with two trees of hosts, which carry half of the bytes each, up and down again."""
    steps = 2 * math.log2(ranks // 8) * network.latency * buckets(parameters)
    between = 2 * width * parameters / network.bandwidth + steps
    return all_reduce(parameters, NVLINK, 8) * width / 4 + between


def of_thousands():
    parameters, rate = PARAMETERS["ResNet-50"], A100["ResNet-50"]
    sums = {
        "one ring": lambda n: all_reduce(parameters, NETWORK, n),
        "a ring of hosts": lambda n: by_rings(parameters, n),
        "trees of hosts": lambda n: by_trees(parameters, n),
        "trees, bf16, 200 Gbit/s a GPU": lambda n: by_trees(parameters, n, RICH, 2),
    }
    rows = []
    for ranks in [256, 1024, 4096]:
        seconds = GLOBAL_BATCH / ranks / rate
        for name, reduce in sums.items():
            shares = []
            for overlap in OVERLAPS:
                exposed = max(0.0, reduce(ranks) - overlap * BACKWARD * seconds)
                shares.append(seconds / (seconds * straggler(ranks, GPU_DEVIATION) + exposed))
            rows.append([name, f"{ranks:,}", GLOBAL_BATCH // ranks, number(1e3 * seconds), number(1e3 * reduce(ranks))]
                        + [f"{100 * share:.0f} %" for share in shares])
    head = ["all-reduce", "ranks", "images", "step, ms", "all-reduce, ms", *(f"overlap {o:g}" for o in OVERLAPS)]
    yield "Thousands", table(head, rows, 1)


def of_papers():
    resnet = WORKS_A100[1]._replace(batch=256)
    rows = [
        ["8 A100, NVLink, TF32, 1 to 8", "7.72", number(speed_up(resnet._replace(rate=938), NVLINK, 8))],
        ["8 A100, NVLink, mixed precision, 1 to 8", "6.72", number(speed_up(resnet, NVLINK, 8))],
    ]
    # Goyal et al.: servers of 8 P100 that take 29 hours for 90 epochs, 50 Gbit/s between them, 32 images each.
    link = Link("50 Gbit/s", 5e9, 2e-5, "assumed: 80 % of the line")
    compute = 32 / (90 * 1.281e6 / (29 * 3600) / 8)
    slower = straggler(256, GPU_DEVIATION) / straggler(8, GPU_DEVIATION)
    for name, ranks in [("one ring of 256", 256), ("a ring of 32 servers", 32)]:
        exposed = max(0.0, all_reduce(resnet.parameters, link, ranks) - OVERLAPS[1] * BACKWARD * compute)
        rows.append([f"256 P100 in 32 servers, 8 to 256: {name}", "28.8", number(32 * compute / (compute * slower + exposed))])
    yield "Published", table(["ResNet-50", "published", "model"], rows, 1)


def tables():
    for part in [of_inputs, of_hosts, of_features, of_pipelines, of_papers, of_thousands]:
        yield from part()


def test():
    """What holds for any input."""
    links = [SLOW, FAST, NVLINK, PCIE, MEMORY, NETWORK, *SAME_HOST]
    for work in [*CPU, *WORKS_3090, *WORKS_A100]:
        for link in links:
            slower = link._replace(latency=link.latency + 1e-4)
            for overlap in OVERLAPS:
                assert speed_up(work, link, 1, overlap) == 1
                for ranks in RANKS:
                    figure = speed_up(work, link, ranks, overlap)
                    assert 0 < figure <= ranks
                    assert speed_up(work, slower, ranks, overlap) <= figure
                    assert overlap > 0 or speed_up(work, slower, ranks) < figure
                    assert speed_up(work, link, ranks) <= figure
            batch = smallest_batch(work, link, 8)
            assert speed_up(work._replace(batch=batch), link, 8) >= 0.8 * 8 * (1 - 1e-9)
            assert batch == 1 or speed_up(work._replace(batch=batch - 1), link, 8) < 0.8 * 8
    # Of two normal numbers the larger one is 1 / sqrt(pi) deviations above the mean, of 64 it is 2.344.
    assert straggler(1, 1.0) == 1
    assert abs(straggler(2, 1.0) - 1 - 0.564) < 0.05
    assert abs(straggler(64, 1.0) - 1 - 2.344) < 0.05
    assert bubble(1, 4) == 0 and bubble(2, 1) == 0.5


def main():
    parser = argparse.ArgumentParser(description="The expected speed-up of 2 to 64 ranks.")
    parser.add_argument("--check", metavar="FILE", help="say which tables a document lacks")
    parser.add_argument("--rate", type=float, help="images a second of one rank")
    parser.add_argument("--batch", type=int, default=64, help="images of a rank and step")
    parser.add_argument("--parameters", type=int, default=PARAMETERS["ResNet-18"], help="numbers that train")
    parser.add_argument("--bandwidth", type=float, default=SLOW.bandwidth / 1e9, help="GB/s")
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--deviation", type=float, default=CPU_DEVIATION, help="of step times, relative")
    parser.add_argument("--overlap", type=float, default=0.0, help="share of the way back that hides communication")
    args = parser.parse_args()
    test()
    if args.rate:
        PARAMETERS["own"] = args.parameters
        work = Work("own", args.rate, args.batch, 0, args.deviation, "own")
        link = Link("own", args.bandwidth * 1e9, args.latency / 1e3, "own")
        rows = [[n, number(1e3 * step(work, link, n, args.overlap)),
                 number(n * args.batch / step(work, link, n, args.overlap)),
                 number(speed_up(work, link, n, args.overlap))] for n in [1, *RANKS]]
        print(table(["ranks", "step, ms", "images/s", "speed-up"], rows, 0))
    elif args.check:
        text = Path(args.check).read_text(encoding="utf-8")
        missing = [name for name, body in tables() if body not in text]
        if missing:
            sys.exit(f"{args.check} has other figures: {', '.join(missing)}")
    else:
        print("\n\n".join(f"### {name}\n\n{body}" for name, body in tables()))


if __name__ == "__main__":
    main()
