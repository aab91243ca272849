"""Processors that ship with mlms. Pillow is imported when an image is decoded or resized, not before."""

from mlms.builtins.processors import center_crop, decode_image, layout, normalize, rescale, resize, softmax, top_k
from mlms.hooks import Component, Processor

COMPONENTS: tuple[Component[Processor], ...] = (
    decode_image.COMPONENT,
    resize.COMPONENT,
    center_crop.COMPONENT,
    rescale.COMPONENT,
    normalize.COMPONENT,
    layout.TO_CHW,
    layout.RESHAPE,
    layout.CAST,
    softmax.COMPONENT,
    top_k.COMPONENT,
)
