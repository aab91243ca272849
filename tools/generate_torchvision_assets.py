"""Write the model assets of torchvision's image classifiers, and the label list, from torchvision's own metadata.

python tools/generate_torchvision_assets.py          writes assets/models/torchvision/*.yaml and the labels
python tools/generate_torchvision_assets.py --check  writes nothing; names the stale files and exits 1 if any
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torchvision.models
from torchvision.models import Weights, get_model_builder, get_model_weights, list_models

ASSETS = Path(__file__).resolve().parent.parent / "assets"
MODELS = ASSETS / "models" / "torchvision"
LABELS = ASSETS / "labels" / "imagenet-1k.txt"

LICENSES = {
    None: "BSD-3-Clause",
    "https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "CC-BY-NC-4.0",
}
"""From what the metadata gives as the weights' licence to its SPDX name; without one, torchvision's own holds."""

AUXILIARY_HEADS = (
    "torchvision's builder sets these when it loads weights: the file holds the auxiliary heads (unused in\n"
    "evaluation), the images are rescaled to what the original weights expect, and no time goes into initialization."
)
NO_INITIALIZATION = "torchvision's builder sets this when it loads weights: no time goes into initialization."


def arguments(name: str, weights: Weights) -> tuple[Mapping[str, Any], str]:
    """What torchvision's builder overrides when it is given weights, and why: the state dict must fit exactly."""
    if name in ("googlenet", "inception_v3"):
        return {"transform_input": True, "aux_logits": True, "init_weights": False}, AUXILIARY_HEADS
    if name.startswith("vgg"):
        return {"init_weights": False}, NO_INITIALIZATION
    size = weights.meta["min_size"][0]
    if name.startswith("vit_") and size != 224:
        return {"image_size": size}, "The position embedding in the weights is made for this size."
    return {}, ""


def render(name: str) -> str:
    """The YAML of one model with its default weights."""
    builder = get_model_builder(name)
    weights = get_model_weights(name).DEFAULT
    meta, transforms = weights.meta, weights.transforms()
    digest = re.search(r"-([0-9a-f]{8,64})\.pth$", weights.url)
    if digest is None:
        raise SystemExit(f"{name}: no SHA-256 in the file name of {weights.url}")
    keywords, why = arguments(name, weights)
    licence = LICENSES[meta.get("license")]
    noncommercial = ["  Its weights are licensed for non-commercial use only."] if "-NC-" in licence else []
    accuracy = meta["_metrics"]["ImageNet-1K"]
    (crop,), (resize,) = transforms.crop_size, transforms.resize_size
    mode = transforms.interpolation.value
    family = builder.__module__.rpartition(".")[2].replace("_", "-")
    lines = [
        "# yaml-language-server: $schema=../../../mlms/manifests/schemas/model.json",
        "# Made by tools/generate_torchvision_assets.py from torchvision's metadata; change that, not this.",
        "kind: model",
        "schema_version: 1",
        f"name: {name}",
        "version: 1.0.0",
        "description: >-",
        f"  torchvision's {name} with the weights {weights.name}:",
        f"  {meta['num_params'] / 1e6:.1f} million parameters, {meta['_ops']} GFLOPS an image"
        " (multiply-adds, as torchvision counts them).",
        *noncommercial,
        f"license: {licence}",
        f"homepage: https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.{name}.html",
        f"tags: [torchvision, {family}, imagenet]",
        "task: image_classification",
        'framework: {name: pytorch, version: ">=2.0"}',
        "source:",
        f"  factory: torchvision.models:{name}",
        *(f"  # {line}" for line in why.splitlines()),
        f"  arguments: {flow(keywords)}",
        "  weights:",
        f"    url: {weights.url}",
        f'    sha256: "{digest[1]}"',
        "input:",
        f"  - {{name: image, dtype: float32, shape: [3, {crop}, {crop}]}}",
        "preprocess:",
        "  - decode_image: {mode: RGB}",
        f"  - resize: {{size: {resize}, interpolation: {mode}, antialias: {json.dumps(bool(transforms.antialias))}}}",
        f"  - center_crop: {{size: {crop}}}",
        "  - rescale: {factor: 1/255}",
        f"  - normalize: {{mean: {transforms.mean}, std: {transforms.std}}}",
        "  - to_chw: {}",
        "postprocess:",
        "  - softmax: {}",
        "  - top_k: {k: 5, labels: imagenet-1k}",
        "published:",
    ]
    for metric, key in (("top1", "acc@1"), ("top5", "acc@5")):
        lines += [
            f"  - metric: {metric}",
            f"    value: {accuracy[key]}",
            "    dataset: imagenet-1k-val",
            f"    source: {json.dumps(meta['recipe'])}",
        ]
    return "\n".join(lines) + "\n"


def flow(mapping: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in mapping.items()) + "}"


def documents() -> dict[Path, str]:
    """Every generated file with its content."""
    names = list_models(module=torchvision.models)
    lists = {tuple(get_model_weights(name).DEFAULT.meta["categories"]) for name in names}
    if len(lists) != 1:
        raise SystemExit("the models' weights no longer share one list of categories")
    labels = "".join(f"{label}\n" for label in lists.pop())
    return {MODELS / f"{name}.yaml": render(name) for name in names} | {LABELS: labels}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    check = parser.parse_args().check
    wanted = documents()
    here = {path: path.read_text(encoding="utf-8") for path in [*MODELS.glob("*.yaml"), LABELS] if path.exists()}
    stale = sorted(path for path in wanted.keys() | here.keys() if wanted.get(path) != here.get(path))
    for path in stale:
        print(f"{'stale' if check else 'written' if path in wanted else 'removed'}: {path.relative_to(ASSETS.parent)}")
        if check:
            continue
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8", newline="\n")
        else:
            path.unlink()
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
