"""Makes the first inputs of every fuzz target from the tests' fixtures: `python3 fuzz/seeds.py`.

They go into `fuzz/corpus/TARGET/seed-NAME`. What a campaign has found beside them has other names
and stays.
"""

import gzip
import json
import struct
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
LARGEST = 4096


def seed(target, name, data):
    if isinstance(data, str):
        data = data.encode()
    if len(data) > LARGEST:
        return
    folder = ROOT / "fuzz" / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data)


def safetensors():
    tensors = {
        "fc.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "fc.bias": {"dtype": "F16", "shape": [2], "data_offsets": [24, 28]},
        "n": {"dtype": "I64", "shape": [], "data_offsets": [28, 36]},
    }
    whole = json.dumps(tensors, separators=(",", ":"))
    headers = {
        "plain": whole,
        "metadata": '{"__metadata__":{"format":"pt"},' + whole[1:],
        "wrapped": whole.replace('"fc', '"module._orig_mod.fc').replace('"n"', '"module._orig_mod.n"'),
        "empty": "{}",
        "zero": '{"a":{"dtype":"BF16","shape":[0,9],"data_offsets":[0,0]}}',
        "f64": '{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}',
    }
    lengths = {"empty": 0, "zero": 0, "f64": 8}
    for name, header in headers.items():
        values = bytes(lengths.get(name, 36))
        seed("safetensors", name, b"\1" + header.encode() + b"\0" + values)
        seed("safetensors", f"{name}-raw", b"\0" + struct.pack("<Q", len(header)) + header.encode() + values)


def pytorch():
    for path in sorted((FIXTURES / "torch").glob("*.pt*")):
        seed("pytorch", f"{path.stem}-raw", b"\0" + path.read_bytes())
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith("data.pkl"):
                        seed("pytorch", path.stem, b"\2" + archive.read(name))
        else:
            # Without the three pickles that a target puts before it.
            data = path.read_bytes()
            start = data.find(b"\x80\x02", data.find(b"little_endian"))
            seed("pytorch", f"{path.stem}-rest", b"\1" + data[start:])


def idx():
    def images(count, side=28):
        return struct.pack(">4I", 0x803, count, side, side) + bytes(i % 251 for i in range(count * side * side))

    def labels(values):
        return struct.pack(">2I", 0x801, len(values)) + bytes(values)

    for form, content in ((0, images(1)), (1, labels([3])), (2, images(2)), (3, labels([9, 1]))):
        seed("idx", f"plain-{form}", bytes([form]) + content)
        seed("idx", f"packed-{form}", bytes([form | 4]) + content)
        seed("idx", f"gzip-{form}", bytes([form]) + gzip.compress(content, mtime=0))
    seed("idx", "two-members", b"\1" + gzip.compress(labels([1])[:5], mtime=0) + gzip.compress(labels([1])[5:], mtime=0))


def csv():
    texts = {
        "plain": "path,label\na.png,x\nb.png,y\nc.png,x\nd.png,y\n",
        "split": "path,label,split\na.png,x,train\nb.png,y,train\nc.png,x,val\nd.png,y,test\n",
        "valid": "label,path,split\nx,./a.png,train\ny,sub/a.png,train\ny,e.png,validation\n",
        "quoted": '"path","label","more"\r\n"a.png"," x ","1"\r\n"b.png","y","a ""b"""\r\n\r\nc.png,x,\r\n',
        "broken": "path,label\na.png,x\nb.png,y\nbroken.png,x\nmissing.png,y\n",
        "twice": "path,label\na.png,x\n./a.png,y\n",
        "semicolon": "path;label\na.png;x\nb.png;y\n",
        "tab": "image\tclass\na.png\tx\nb.png\ty\n",
        "is-valid": "name,label,is_valid\na.png,x,False\nb.png,y,False\nc.png,x,True\n",
        "mark": "\ufeffpath,label\na.png,x\nb.png,y\n",
        "uneven": "path,label\na.png\nb.png,y,z\n",
    }
    for index, (name, text) in enumerate(texts.items()):
        seed("csv", name, bytes([index % 16]) + text.encode())


def image():
    folder = FIXTURES / "pixels"
    for index, path in enumerate(sorted(p for p in folder.iterdir() if p.suffix not in (".json", ".bin"))):
        if path.stem.startswith("orientation") and path.name != "orientation_8.jpg":
            continue
        if path.stat().st_size < 2600:
            seed("image", path.name, b"\0" + path.read_bytes())
    for name in ("3x2.png", "one.jpg", "palette.gif"):
        seed("image", f"folder-{name}", b"\x0e" + (folder / name).read_bytes())


def resize():
    texts = ["", "flip-crop", "trivial", "rand,random-erasing:mode=pixel", "color-jitter:hue=0.2",
             "random-crop:padding=2,horizontal-flip", "imagenet,vertical-flip"]
    sizes = [(1, 1, 1), (37, 53, 24), (1, 200, 8), (200, 1, 32), (64, 64, 64), (5, 2000, 3), (30, 40, 0)]
    for index, (text, (height, width, size)) in enumerate(zip(texts, sizes)):
        how = index * 5 % 18 + 64 * (index % 2)
        head = struct.pack("<2H4Bf", height - 1, width - 1, index % 4, size, how, 13, [0.875, 1.0, 1.2][index % 3])
        seed("resize", f"{index}", head + text.encode())


def config():
    for path in sorted((FIXTURES / "export").glob("*.json")):
        seed("config", path.stem, json.dumps(json.loads(path.read_text()), separators=(",", ":")))
    flat = {"architecture": "resnet18", "num_classes": 3, "labels": ["a", "b", "c"], "mean": [0.5],
            "std": [0.5], "input_size": [1, 28, 28], "interpolation": "bilinear", "crop_pct": 0.9,
            "crop_mode": "squash", "license": "mit", "tag": "x", "fixed_input_size": True}
    seed("config", "flat", json.dumps(flat))
    args = {"architecture": "test_vit", "model_args": {"img_size": [32, 32], "class_token": False,
            "drop_rate": 0.1, "global_pool": "map"}, "pretrained_cfg": {"label_names": {"0": "a", "7": "b"}}}
    seed("config", "args", json.dumps(args))
    seed("config", "other", '{"architectures":["ViTForImageClassification"]}')


def manifest():
    text = (ROOT / "weights-manifest" / "resnet.toml").read_text()
    tables = text.split("\n\n[")
    for index in (1, 2, 3, 12):
        if index < len(tables):
            seed("manifest", f"{index}", "[" + tables[index])
    seed("manifest", "two", "[" + tables[1] + "\n\n[" + tables[2])
    seed("manifest", "bundled", (ROOT / "weights-manifest" / "bundled.toml").read_text())
    seed("manifest", "path", "[resnet18.moths]\npath = 'a.safetensors'\ninput_size = [3, 8, 8]\nmean = [0.5]\n"
         "std = [0.5]\ninterpolation = 'box'\ncrop_pct = 1\nnum_classes = 2\n")


RECIPES = {
    "named": "recipe = 'gradual'\nepochs = 12\n",
    "fine-tune": "recipe = 'fine-tune'\nlearning_rate = 1e-3\nbatch_size = 8\n",
    "backbone": "recipe = 'backbone-finetuning'\nepochs = 30\n",
    "schedule": "[schedule]\nkind = 'cosine'\nend = 0.01\ncycles = 3\n[warmup]\nepochs = 1.5\nmode = 'overlay'\n",
    "steps": "[schedule]\nkind = 'multi_step'\nmilestones = [3, 6]\ngamma = 0.1\n",
    "at": "freeze = 'backbone'\n[unfreeze]\nkind = 'at'\nsteps = [{ epoch = 2.5, freeze = 'up-to:stage2' }]\n",
    "many": "accumulate = 2\nworkers = 0\nsampler = 'balanced'\nlabel_smoothing = 0.1\nprecision = 'bf16'\n"
            "feature_cache = 'disk:f16'\nmetric = 'valid_loss'\nclass_weights = 'balanced'\n"
            "[ema]\ndecay = 0.99\n[early_stopping]\npatience = 3\n[checkpoints]\nlast = 2\nbest = 1\n",
    "optimizer": "[optimizer]\nkind = 'adamw'\nbetas = [0.9, 0.99]\n[rates]\nkind = 'layer_decay'\ndecay = 0.75\n"
                 "[clip]\nkind = 'norm'\nmax = 1.0\n",
    "augment": "augment = [{ kind = 'random_crop', padding = 2 }, { kind = 'horizontal_flip' }]\n"
               "[mixing]\nmixup_alpha = 0.2\n",
    "augment-text": "augment = 'trivial,random-erasing:mode=pixel'\nfrozen_norm = 'train_affine'\n",
    "joins-late": "epochs = 9223372036854775807\n[unfreeze]\nkind = 'backbone'\njoins_at = 4611686018427387904\n",
    "thaws-late": "epochs = 9223372036854775807\n[unfreeze]\nkind = 'fine_tune'\nfreeze_epochs = 4611686018427387904\n",
    "config": "burn_zoo = '0.1.0'\n[recipe]\nepochs = 3\nfreeze = 'matching:stage[12]'\n",
}


def recipe():
    for name, text in RECIPES.items():
        seed("recipe", name, text)


TEXTS = {
    0: ["constant", "step:30:0.1", "multi_step:3,6:0.1", "exponential:0.9", "linear:end=0.1", "polynomial:2",
        "cosine:end=0.01:cycles=3:cycle_mul=2:cycle_decay=0.5", "one_cycle:pct_start=0.2:momentum=0.9,0.8,0.9",
        "plateau:patience=2:threshold_mode=abs"],
    1: ["none", "flip-crop,color-jitter:hue=0.2", "trivial,random-erasing:mode=pixel", "random-crop:padding=2"],
    2: ["normal(mean=0,std=0.02)", "trunc_normal(std=0.02)", "kaiming_normal(mode=fan_out,nonlinearity=relu)",
        "orthogonal(gain=2)", "sparse(sparsity=0.1)", "dirac(groups=2)", "course", "eye", "constant(value=1)"],
    3: ["nothing", "backbone", "up-to:stage2", "only:stem,head", "matching:.*bias"],
    4: ["fold", "repeat", "xavier_uniform(gain=2)"],
    5: ["same", "geometric:0.01", "factor:2.6", "slice", "layer_decay:0.75:min_scale=0.01"],
    6: ["none", "linear:256", "sqrt:32"],
    7: ["sgd", "nesterov", "adamw", "muon"],
    8: ["never", "gradual:0.5", "fine-tune", "backbone:3", "1=up-to:stage2;2.5=nothing"],
    9: ["none", "norm:1", "value:0.5"],
    10: ["valid_accuracy", "valid_loss"],
    11: ["auto", "disk:f16:views=4"],
    12: ["equal", "balanced", "1,2.5"],
    13: ["f32", "bf16"],
    14: ["shuffle", "balanced"],
    15: ["one", "ten-crop"],
    16: ["categories=100,size=28", "colour=mixed,atoms=0.5,per_category=7,first=3,seed=2,black=0.1"],
    17: ["resnet18", "resnet18.a1_in1k", "resnet*", "vit_?iny*"],
}


def text():
    for what, texts in TEXTS.items():
        for index, one in enumerate(texts):
            seed("text", f"{what:02}-{index}", bytes([what]) + one.encode())


def run_files():
    config = ("burn_zoo = '0.1.0'\n[model]\narchitecture = 'test_resnet'\n[data]\nsource = 'x'\ntrain_images = 12\n"
              "valid_images = 12\nclasses = ['a', 'b']\n[recipe]\nepochs = 2\n")
    record = {"epoch": 1, "train_loss": 2.3, "train_accuracy": 0.1, "valid_loss": 2.3, "valid_accuracy": 0.1,
              "valid_top5_accuracy": 0.5, "valid_balanced_accuracy": 0.1, "learning_rate": 0.001,
              "rates": {"head": 0.001}, "frozen": "backbone", "images_per_second": 9.5, "memory": {}, "seconds": 1.5}
    steps = "epoch,step,loss,learning_rate,gradient_norm,rate stem,rate head\n0.3,1,2.3,1e-3,,0,1e-3\n1,3,2.1,1e-3,1.5,0,1e-3\n"
    seed("run_files", "config", b"\0" + config.encode())
    seed("run_files", "log", b"\1" + json.dumps(record).encode() + b"\n")
    seed("run_files", "steps", b"\2" + steps.encode())


def checkpoint():
    # Changes of a file: kind, length, place, bytes.
    for index in range(8):
        seed("checkpoint", f"changed-{index}", bytes([128 | index]) + struct.pack("<BBI", 0, 2, 100 * index + 9) + b"9e")
        seed("checkpoint", f"inserted-{index}", bytes([128 | index]) + struct.pack("<BBI", 1, 4, 70 * index + 5) + b"\xff\xff,{")
        seed("checkpoint", f"cut-{index}", bytes([128 | index]) + struct.pack("<BBI", 3, 0, 1000 + index))
        seed("checkpoint", f"shorter-{index}", bytes([128 | index]) + struct.pack("<BBI", 2, 20, 60 + index))
    state = {"version": 1, "epoch": 2, "batches": 0, "steps": 6, "seen": {"images": 0, "right": 0, "loss": 0, "seconds": 0},
             "epochs": [], "best": None, "stopped": True, "origin": "x", "ids": {}}
    seed("checkpoint", "state", b"\0" + json.dumps(state).encode())


def tensorboard():
    def event(what, tag, step, rest=b""):
        return bytes([what, len(tag)]) + tag + struct.pack("<q", step) + rest

    seed("tensorboard", "scalars", event(0, b"loss", 1, struct.pack("<d", 2.5)) + event(0, b"loss", 2, struct.pack("<d", 1e300)))
    seed("tensorboard", "histogram", event(1 + 6 * 4, b"weights", 7, struct.pack("<4f", 0, 1, -2, float("nan"))))
    seed("tensorboard", "image", event(2, b"images", 7, bytes([3, 4, 3])) + event(2, b"grey", 7, bytes([3, 4, 1])))
    seed("tensorboard", "text", event(3, b"note", 7, b"\5*a*\n-"))
    seed("tensorboard", "graph", event(4, b"stem/conv", 7, b"\4head\x09stem/conv"))
    seed("tensorboard", "hparams", event(5, b"lr", 7, struct.pack("<d", 0.1) + b"\3opt"))
    seed("tensorboard", "kinds", event(0, b"a", 1, bytes(8)) + event(3, b"a", -1, b"\1x"))


# ---- Words that a target's format is made of -----------------------------------------------------------------------


def dictionary(target, words):
    lines = ['"' + "".join(f"\\x{byte:02x}" for byte in word.encode("latin-1")) + '"' for word in words]
    path = ROOT / "fuzz" / "dictionaries" / f"{target}.dict"
    path.write_text("\n".join(sorted(set(lines))) + "\n")


def words(text):
    """The words of a text, with what stands between them."""
    import re

    return [word for word in re.findall(r"[A-Za-z_][A-Za-z_0-9-]+|[0-9.]+e?-?[0-9]*", text) if word]


def dictionaries():
    numbers = ["0", "-1", "1e308", "1e-320", "nan", "inf", "18446744073709551615", "9223372036854775807", "4294967296", "65536", "0.5"]
    parts = [":", ",", "=", ";", "(", ")", "{", "}", "[", "]", "[[", "]]", '"', "'", '"""', "\n", "\r\n", "#", "\ufeff".encode().decode("latin-1")]
    dictionary("safetensors", parts + numbers + ["__metadata__", "dtype", "shape", "data_offsets", "F32", "F16", "BF16", "F64", "I64",
               "U8", "BOOL", "F8_E4M3", "F4", "F6_E2M3", "module.", "_orig_mod.", "model.", "null", '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'])
    dictionary("pytorch", ["torch._utils\n_rebuild_tensor_v2\n", "torch._utils\n_rebuild_parameter\n", "ccollections\nOrderedDict\n",
               "ctorch\nFloatStorage\n", "ctorch\nHalfStorage\n", "ctorch\nBFloat16Storage\n", "ctorch\nDoubleStorage\n", "ctorch\nLongStorage\n", "storage", "cpu", "state_dict", "model",
               "model_state_dict", "module.", "X\1\0\0\x000", "\x85R", "\x86R", "\x87R", "tQ", "NtR", ")R", "(u", "(e", "}q\0", "]q\0", "h\0", "q\0", "\x94", "\x80\2",
               "\x8a\1", "\x8c\1a", "K\1", "M\0\1", "J\xff\xff\xff\x7f", "PK\3\4", "PK\1\2", "PK\5\6", "PK\6\6", "PK\6\7", "data.pkl", "constants.pkl", ".data/serialization_id"])
    dictionary("idx", ["\0\0\x08\x03", "\0\0\x08\x01", "\0\0\0\x1c", "\x1f\x8b\x08", "\0\0\0\0", "\xff\xff\xff\xff", "\0\0\0\1"])
    dictionary("csv", ["path", "label", "split", "train", "val", "valid", "validation", "test", "a.png", "b.png", "c.png", "sub/a.png", "./", "../", "broken.png",
               "missing.png", ",", ";", "\t", "|", '"', '""', "\r\n", "\n", "\r", "\xef\xbb\xbf", "is_valid", "True", "False", "image", "class", "name", "filename"])
    configs = "".join(path.read_text() for path in (FIXTURES / "export").glob("*.json"))
    dictionary("config", parts + numbers + words(configs) + ["img_size", "drop_rate", "drop_path_rate", "labels", "license", "tag", "test_vit", "test_resnet",
               "test_input_size", "first_conv", "dynamic_img_size", "null", "true", "squash", "border", "nearest", "lanczos", "token", "catavgmax"])
    manifest = (ROOT / "weights-manifest" / "resnet.toml").read_text()
    dictionary("manifest", parts + numbers + [w for w in words(manifest) if len(w) < 18][:400] + ["path", "bundled", "revision_hint", "sha256_hint", "bytes_hint", "fixed_input_size"])
    every = "\n".join(RECIPES.values()) + "\n".join(one for texts in TEXTS.values() for one in texts)
    names = words(every) + ["drop_last", "gradient_checkpointing", "rate_scaling", "every_steps", "joins_at", "freeze_epochs", "lr_mult", "div", "growth", "ratio", "align",
                            "every", "seed", "per", "cutmix_alpha", "min_delta", "drop_rate", "drop_path_rate", "image_size", "views", "progressive_sizes", "20,24,28"]
    for target in ("recipe", "text", "resize", "run_files", "checkpoint"):
        dictionary(target, parts + numbers + names)


for make in (safetensors, pytorch, idx, csv, image, resize, config, manifest, recipe, text, run_files, checkpoint, tensorboard, dictionaries):
    make()
