"""Draws characters in many typefaces into a folder of images, CLASS/NUMBER.png: a source task for
measurements that need pretrained weights and may not take anybody's photographs.

    python benches/glyphs.py DIR [IMAGES_A_CLASS]

62 classes (digits, capital and small letters), 28 x 28 pixels, grey. Every TrueType font of the
system is used that has the letters; size, place, slant, rotation, brightness and noise follow from
a seed.

Run with: Python 3.11, Pillow 13.0.0, numpy 2.4.6
"""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SIDE, DRAWN = 28, 84


def fonts():
    listed = subprocess.run(["fc-list", ":lang=en", "file"], capture_output=True, text=True, check=True)
    files = sorted({line.split(":")[0] for line in listed.stdout.splitlines()})
    return [f for f in files if f.endswith((".ttf", ".otf"))]


def draw(character, files, rng):
    font = ImageFont.truetype(rng.choice(files), rng.randint(40, 72))
    image = Image.new("L", (DRAWN, DRAWN))
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = pen.textbbox((0, 0), character, font=font)
    x = (DRAWN - right - left) / 2 + rng.uniform(-8, 8)
    y = (DRAWN - bottom - top) / 2 + rng.uniform(-8, 8)
    pen.text((x, y), character, fill=255, font=font)
    slant = rng.uniform(-0.3, 0.3)
    image = image.transform(image.size, Image.AFFINE, (1, slant, -slant * DRAWN / 2, 0, 1, 0), Image.BILINEAR)
    image = image.rotate(rng.uniform(-20, 20), Image.BILINEAR).resize((SIDE, SIDE), Image.BOX)
    low, high = sorted([rng.uniform(0, 255), rng.uniform(0, 255)])
    if high - low < 60:
        low, high = 0, 255
    pixels = low + np.asarray(image, dtype=np.float64) / 255 * (high - low)
    if rng.random() < 0.5:
        pixels = 255 - pixels
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(0, 12), pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def main():
    folder = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    files = fonts()
    print(f"{len(files)} fonts")
    rng = random.Random(0)
    for character in CHARACTERS:
        # Two letters that differ in case alone are one name on some file systems.
        name = f"{ord(character):03d}"
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            draw(character, files, rng).save(folder / name / f"{number:04d}.png")


if __name__ == "__main__":
    main()
