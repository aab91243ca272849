"""What the image processors share: the check of their input, and the ``size`` option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.errors import DataError

SIZE: Mapping[str, Any] = {
    "oneOf": [
        {"type": "integer", "minimum": 1},
        {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2},
    ]
}
"""The JSON Schema of a size: one length, or [height, width]."""


def as_image(value: Any, step: str) -> npt.NDArray[Any]:
    """``value`` as an array of shape (height, width, channels).

    Raises:
        DataError: it is not of that shape, or has no pixels; the message names the ``step``.
    """
    if not isinstance(value, np.ndarray) or value.ndim != 3 or value.size == 0:
        found = f"shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise DataError(
            f"{step} takes an image of shape (height, width, channels), not {found}",
            hint=f"put decode_image before {step}",
        )
    return value
