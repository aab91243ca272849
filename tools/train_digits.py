"""Train digits-cnn and write it, its test data and their assets: ``python tools/train_digits.py [ROOT]``.

The images are scikit-learn's copy of the test set of the UCI "Optical Recognition of Handwritten Digits": 1,797 of
8 x 8 pixels with 17 shades, of which a stratified 450 are held out. One thread, a fixed seed and deterministic
kernels make the outcome repeatable on one machine and PyTorch version; elsewhere the last bits of the weights may
differ, which is why they are committed. Takes seconds on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional

from mlms.builtins.pytorch.models import digits_cnn

SEED = 0
HELD_OUT = 450
EPOCHS = 25
BATCH = 64
PEAK_RATE = 3e-3
NOISE = 0.05
WHITE = 16


@dataclass(frozen=True)
class Split:
    """Images of shape (n, 8, 8), uint8 from 0 to 16, with labels of shape (n,), int64."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def inputs(self) -> torch.Tensor:
        """The images as the model takes them: (n, 1, 8, 8), float32 from 0 to 1."""
        return torch.from_numpy(self.images).float().div(WHITE).unsqueeze(1)


@dataclass(frozen=True)
class Score:
    """Accuracies in percent, and the least distance between the two best logits of any sample."""

    top1: float
    top5: float
    margin: float


def load_splits() -> tuple[Split, Split]:
    """The training and the held-out split, the same at every call."""
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    parts = train_test_split(images, labels, test_size=HELD_OUT, stratify=labels, random_state=SEED)
    return Split(parts[0], parts[2]), Split(parts[1], parts[3])


def train(data: Split, epochs: int = EPOCHS) -> torch.nn.Module:
    """A network trained on ``data``, with each batch shifted by up to a pixel and a little noise on it."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    model = digits_cnn().train()
    inputs, labels = data.inputs(), torch.from_numpy(data.labels)
    batches = len(inputs) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=epochs * batches)
    for _ in range(epochs):
        for chosen in torch.randperm(len(inputs))[: batches * BATCH].split(BATCH):
            left, top = torch.randint(0, 3, (2,)).tolist()
            shifted = functional.pad(inputs[chosen], (1, 1, 1, 1))[:, :, top : top + 8, left : left + 8]
            logits = model(shifted + NOISE * torch.randn(shifted.shape))
            optimizer.zero_grad()
            functional.cross_entropy(logits, labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def score(model: torch.nn.Module, data: Split) -> Score:
    """How well ``model`` does on ``data``."""
    with torch.inference_mode():
        best = model(data.inputs()).topk(5)
    hits = best.indices == torch.from_numpy(data.labels)[:, None]
    return Score(
        top1=100 * int(hits[:, 0].sum()) / len(hits),
        top5=100 * int(hits.sum()) / len(hits),
        margin=float((best.values[:, 0] - best.values[:, 1]).min()),
    )


MODEL = """\
# yaml-language-server: $schema=../../../mlms/manifests/schemas/model.json
# Written by tools/train_digits.py.
kind: model
schema_version: 1
name: digits-cnn
version: 1.0.0
description: A two-layer convolutional network for handwritten digits of 8 x 8 pixels, shipped with its weights.
license: Apache-2.0
homepage: https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits
tags: [digits, small, offline]
task: image_classification
framework: {{name: pytorch, version: ">=2.0"}}
source:
  factory: mlms.builtins.pytorch.models:digits_cnn
  weights:
    file: digits-cnn.safetensors
    sha256: {sha256}
input:
  - {{name: image, dtype: float32, shape: [1, 8, 8]}}
preprocess:
  - reshape: {{shape: [1, 8, 8]}}
  - rescale: {{factor: 1/16}}
postprocess:
  - softmax: {{}}
  - top_k: {{k: 5, labels: digits}}
published:
  - {{metric: top1, value: {top1:.4f}, dataset: digits-test, source: tools/train_digits.py}}
  - {{metric: top5, value: {top5:.4f}, dataset: digits-test, source: tools/train_digits.py}}
"""

DATASET = """\
# yaml-language-server: $schema=../../../mlms/manifests/schemas/dataset.json
# Written by tools/train_digits.py.
kind: dataset
schema_version: 1
name: digits-test
version: 1.0.0
description: The {count} handwritten digits of 8 x 8 pixels that digits-cnn was not trained on.
license: CC-BY-4.0
homepage: https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits
tags: [digits, small, offline]
task: image_classification
reader:
  array_file: {{values: images, targets: labels}}
path: test.npz
labels: digits
"""

README = """\
# Handwritten digits

`test.npz` holds `images` (uint8, {count} x 8 x 8, shades from 0 to 16) and `labels` (int64, 0 to 9). `digit.npy` is the
first of the images, a {first}, to ask a model about: `mlms predict digits-cnn digit.npy`.

The images come from *Optical Recognition of Handwritten Digits* by E. Alpaydin and C. Kaynak (1998), UCI Machine
Learning Repository, <https://doi.org/10.24432/C50P49>, licensed under
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). They are a stratified {count} of the 1,797 images of its test
set, in the copy that scikit-learn carries (`sklearn.datasets.load_digits`); changed in nothing but the choice and the
file format.

`tools/train_digits.py` makes these files, and trains `digits-cnn` on the other {rest}. It writes both assets too.
The number of epochs was chosen while looking at the score on these {count}, so the published figure is a reference to
reproduce, not an estimate for new digits.
"""


def write(root: Path, model: torch.nn.Module, held_out: Split, found: Score, rest: int) -> None:
    """Put weights, test data, labels, assets and attribution below ``root``/assets."""
    models, datasets, labels = (root / "assets" / name for name in ("models/digits", "datasets/digits", "labels"))
    for folder in (models, datasets, labels):
        folder.mkdir(parents=True, exist_ok=True)
    weights = models / "digits-cnn.safetensors"
    weights.write_bytes(save(model.state_dict()))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (models / "digits-cnn.yaml").write_text(MODEL.format(sha256=digest, top1=found.top1, top5=found.top5))
    np.savez_compressed(datasets / "test.npz", images=held_out.images, labels=held_out.labels)
    np.save(datasets / "digit.npy", held_out.images[0])
    (datasets / "digits-test.yaml").write_text(DATASET.format(count=len(held_out.labels)))
    (datasets / "README.md").write_text(README.format(count=len(held_out.labels), first=held_out.labels[0], rest=rest))
    (labels / "digits.txt").write_text("".join(f"{digit}\n" for digit in range(10)))


def main() -> None:
    parser = argparse.ArgumentParser(description=textwrap.shorten(__doc__ or "", 120))
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parents[1])
    root = parser.parse_args().root
    training, held_out = load_splits()
    model = train(training)
    found = score(model, held_out)
    write(root, model, held_out, found, len(training.labels))
    print(f"top1 {found.top1:.4f} %, top5 {found.top5:.4f} %, least margin {found.margin:.4f}")


if __name__ == "__main__":
    main()
