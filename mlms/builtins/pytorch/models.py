"""Small networks that ship with mlms; imported only when a model asset names one, so torch may load at the top."""

from __future__ import annotations

from torch import nn


def digits_cnn(num_classes: int = 10) -> nn.Module:
    """A two-layer convolutional network for the UCI handwritten digits.

    Takes (N, 1, 8, 8) float32 images scaled to [0, 1]; gives (N, num_classes) logits.
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )
