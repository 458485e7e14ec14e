r"""Writes scikit-learn's handwritten digits as a folder of images, train/CLASS/*.png and
val/CLASS/*.png: 8 x 8 pixels, enlarged to 28 x 28 (bilinear), white on black. Every fifth is for
validation.

    python benches/digits.py digits

Run with: Python 3.11, scikit-learn 1.9, Pillow 13
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: digits.py FOLDER")
    root = Path(sys.argv[1])
    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target)):
        part = "val" if index % 5 == 4 else "train"
        folder = root / part / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        grey = np.round(pixels * (255 / 16)).astype(np.uint8)
        image = Image.fromarray(grey).resize((28, 28), Image.Resampling.BILINEAR)
        image.save(folder / f"{index:04}.png")


if __name__ == "__main__":
    main()
