"""Model assets made without YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlms.manifests.types import ModelAsset, Requirement, Source, TensorSpec, Weights


def torch_model(
    factory: str,
    arguments: dict[str, Any] | None = None,
    *,
    inputs: dict[str, tuple[int | None, ...]] | None = None,
    seed: int | None = 0,
    file: Path | None = None,
) -> ModelAsset:
    """A model asset for ``factory`` ("module:attribute", or a name in fakes.torch_factories)."""
    return ModelAsset(
        name="net",
        version="1.0.0",
        file=None,
        task="image_classification",
        framework=Requirement("pytorch"),
        source=Source(
            factory if ":" in factory else f"fakes.torch_factories:{factory}",
            arguments or {},
            Weights(seed=None if file else seed, file=file),
        ),
        input=tuple(TensorSpec(name, "float32", shape) for name, shape in (inputs or {"image": (4,)}).items()),
    )
