r"""PyTorch counterpart of `burn-zoo bench`: a timm model, eager or compiled, one JSON line.

train   forward, cross-entropy, backward, a step of SGD (learning rate 0.01, momentum 0.9) or Adam
infer   evaluation mode, inference_mode; with --onnx by ONNX Runtime, from an export of the model

Both run on one random batch; max(2, steps // 5) steps of warm-up are not counted.
"images_per_second" is the median over the steps, "peak_memory_bytes" the largest resident set of
the whole process, on a GPU the most that its allocator reserved. --precision bf16 is autocast, tf32
lets f32 products round to it; both are for a GPU.

Run with: Python 3.11, torch 2.15.0 (CPU), timm 1.0.31
Command:  python benches/pytorch.py resnet18 --mode train --image-size 64 --in-channels 3 \
              --batch-size 16 --steps 20 --threads 2
"""

import argparse
import io
import json
import resource
import statistics
import time

import timm
import torch


def arguments():
    parser = argparse.ArgumentParser(description="Throughput of a timm model on the CPU.")
    parser.add_argument("model")
    parser.add_argument("--mode", choices=("train", "infer"), default="train")
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--in-channels", type=int, default=3)
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    for name in ("image_size", "in_channels", "num_classes", "batch_size", "steps", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return args


def onnx_step(model, x, threads):
    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(model, (x,), file, input_names=["x"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    images = x.numpy()
    return lambda: session.run(None, {"x": images})


def peak(device):
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved()
    # Linux reports KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")

    kwargs = {"in_chans": args.in_channels, "num_classes": args.num_classes}
    cfg = timm.models.get_pretrained_cfg(args.model)
    if cfg is not None and cfg.fixed_input_size:
        kwargs["img_size"] = args.image_size
    if args.model.startswith("swin"):
        kwargs["drop_path_rate"] = 0.0  # timm's own is 0.1
    model = timm.create_model(args.model, **kwargs).to(device)
    x = torch.randn(args.batch_size, args.in_channels, args.image_size, args.image_size).to(device)
    labels = torch.randint(args.num_classes, (args.batch_size,)).to(device)
    run = torch.compile(model) if args.compile else model

    if args.mode == "train":
        model.train()
        if args.optimizer == "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def step():
            optimizer.zero_grad()
            with autocast:
                loss = torch.nn.functional.cross_entropy(run(x), labels)
            loss.backward()
            optimizer.step()
            return loss.item()

    elif args.onnx:
        step = onnx_step(model.eval(), x, args.threads)
    else:
        model.eval()

        def step():
            with torch.inference_mode(), autocast:
                result = run(x)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return result

    for _ in range(max(2, args.steps // 5)):
        step()
    rates = []
    for _ in range(args.steps):
        start = time.perf_counter()
        step()
        rates.append(args.batch_size / (time.perf_counter() - start))

    print(
        json.dumps(
            {
                "model": args.model,
                "mode": args.mode,
                "images_per_second": statistics.median(rates),
                "peak_memory_bytes": peak(device),
                "threads": args.threads,
                "torch": torch.__version__.split("+")[0],
                "timm": timm.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
