"""Starter documents for ``mlms init``: valid as they are, with comments on what to change."""

from __future__ import annotations

from mlms.errors import InputError
from mlms.manifests.names import NAME

_HEAD = """\
# yaml-language-server: $schema={schema}
kind: {kind}
schema_version: 1
name: {name}
"""
_BODIES = {
    "manifest": """\
models: [alexnet]                     # names, name@version, {tags: [...]}, or a model written out
dataset: synthetic                    # or a dataset of `mlms list datasets`
weights: random                       # leave this out to run on the model's own weights
device: auto                          # cpu, cuda, cuda:N
matrix: {batch_size: [1, 8]}          # one evaluation for each combination
scenario: {type: single_stream, min_queries: 64, min_duration: 1s}
trace: {level: model}
seed: 0
""",
    "model": """\
version: 1.0.0
description: What it is, in a sentence.
task: image_classification
framework: {name: pytorch, version: ">=2.0"}
source:
  factory: torchvision.models:resnet18    # a callable from a package that the framework allows
  arguments: {}
  weights:
    random: {seed: 0}                     # or file: model.safetensors, or url: and sha256:
input:
  - {name: image, dtype: float32, shape: [3, 224, 224]}
preprocess:
  - decode_image: {mode: RGB}
  - resize: {size: 256}
  - center_crop: {size: 224}
  - rescale: {factor: 1/255}
  - normalize: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
  - to_chw: {}
postprocess:
  - softmax: {}
  - top_k: {k: 5, labels: imagenet-1k}
published: []                             # - {metric: top1, value: 69.758, dataset: imagenet-1k-val, source: "..."}
""",
    "framework": """\
version: 1.0.0
description: What it is, in a sentence.
component: pytorch                    # the plugin component that drives it: `mlms plugins`
distribution: torch                   # its Python distribution
packages: [torchvision.models]        # where a model's factory may be imported from
options: {}
""",
    "dataset": """\
version: 1.0.0
description: What it holds, in a sentence.
task: image_classification
reader: {image_folder: {}}
path: data/images                     # relative to this file, or below $MLMS_DATA
instructions: Where to get the data, and how to lay it out.
""",
}


def starter(kind: str, name: str, schema: str) -> str:
    """The YAML of a new document; ``schema`` is where editors find the JSON Schema of its kind, a path or URL.

    Raises:
        InputError: ``kind`` has no starter, or ``name`` is not a name.
    """
    if kind not in _BODIES:
        raise InputError(f"there is no starter for '{kind}'", hint=f"it is one of {', '.join(_BODIES)}")
    if not NAME.fullmatch(name):
        hint = "use letters, digits, '.', '_' and '-', and begin with a letter or digit"
        raise InputError(f"'{name}' is not a name", hint=hint)
    quoted = f'"{name}"' if name[0].isdigit() or name.lower() in ("true", "false", "null") else name
    return _HEAD.format(kind=kind, name=quoted, schema=schema) + _BODIES[kind]
