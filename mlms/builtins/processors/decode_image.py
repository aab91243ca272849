"""``decode_image``: the bytes of an image file to pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlms.errors import DataError, Place
from mlms.hooks import Component, Context, Processor

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112
"""The EXIF tag; its values 2 to 8 name a flip or rotation (EXIF 2.3, section 4.6.4)."""

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""TIFF tags (TIFF 6.0, sections 8 and 19); unsigned integers are sample format 1, and photometric 0 is WhiteIsZero."""

CHANNELS = {"RGB": 3, "L": 1}

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000")
"""Pillow's names of what is decoded: raster formats only, none that runs a program (EPS does)."""


@dataclass(frozen=True, slots=True)
class DecodeImage:
    """Decode a file (path) or its content (bytes) to uint8 of shape (height, width, channels).

    EXIF orientation is applied, transparency is laid over ``background``, grey of more than 8 bits is scaled from the
    range of its bits to 8, and of an animation the first frame is taken.

    Raises:
        DataError: the file is missing, no image, damaged, too large, or its pixels have no defined range.
    """

    mode: str = "RGB"
    background: tuple[int, int, int] = (255, 255, 255)

    def __call__(self, value: Any) -> npt.NDArray[np.uint8]:
        from PIL import Image

        if not isinstance(value, (str, Path, bytes)):
            raise DataError(
                f"decode_image takes a file or its bytes, not {type(value).__name__}",
                hint="leave decode_image out where the dataset already gives arrays",
            )
        place = None if isinstance(value, bytes) else Place(Path(value))
        try:
            # Not by name: so opened, Pillow garbles uncompressed TIFFs that lie on their side.
            content = value if isinstance(value, bytes) else Path(value).read_bytes()
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                limit = Image.MAX_IMAGE_PIXELS
                if limit is not None and image.width * image.height > limit:
                    raise DataError(
                        f"the image has {image.width} x {image.height} pixels, more than the {limit} thought safe",
                        place=place,
                        hint="scale the file down",
                    )
                return self._pixels(image)
        except FileNotFoundError as error:
            raise DataError("the image file does not exist", place=place) from error
        except DataError as error:
            raise DataError(error.message, place=place, hint=error.hint) from error
        except Exception as error:  # Pillow's decoders raise almost anything on damaged input
            raise DataError(
                f"the image can't be decoded: {_reason(error)}",
                place=place,
                hint="replace the file or take it out of the dataset",
            ) from error

    def _pixels(self, image: Image) -> npt.NDArray[np.uint8]:
        _refuse_transparent_deep_colour(image)
        image.load()  # Pillow turns a TIFF upright by itself here, and forgets its orientation
        ends = _ends(image)  # before it is turned: that loses TIFF's tags
        image = _upright(image)
        if ends is not None:
            image = _to_8_bit(image, *ends)
        if image.has_transparency_data:
            image = _opaque(image, self.background)
        pixels = np.array(image.convert(self.mode), dtype=np.uint8)
        return pixels.reshape(*pixels.shape[:2], CHANNELS[self.mode])


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "it is in no image format known here"
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than is thought safe"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _upright(image: Image) -> Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(image.getexif().get(ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _refuse_transparent_deep_colour(image: Image) -> None:
    """Of such a PNG, Pillow keeps 8 bits of each pixel, but 16 of the transparent colour: the two can't be compared."""
    rawmodes = [tile.args for tile in getattr(image, "tile", ())]
    if image.format == "PNG" and "transparency" in image.info and "RGB;16B" in rawmodes:
        raise DataError(
            "the image has 16 bits a colour and one transparent colour, which can't be told from its neighbours",
            hint="store it with an alpha channel, or with 8 bits a channel",
        )


def _ends(image: Image) -> tuple[int, int] | None:
    """The values of black and white in an image of more than 8 bits; None for the others.

    Raises:
        DataError: its pixels have no defined range.
    """
    deep = image.mode == "F" or image.mode.startswith("I")
    tags = getattr(image, "tag_v2", None)  # TIFF's
    bits, signed = 16, False
    if tags is not None:
        bits = max(tags.get(BITS_PER_SAMPLE, (1,)))
        signed = 2 in tags.get(SAMPLE_FORMAT, ())
    if image.mode == "F" or bits > 16 or signed:
        kind = "floating-point" if image.mode == "F" else "signed" if signed else "unsigned"
        raise DataError(
            f"the image has {kind} {bits}-bit pixels (mode {image.mode}) without a defined range",
            hint="store it with unsigned integers of 8 or 16 bits a channel",
        )
    if not deep:
        return None
    white = 2**bits - 1
    return (white, 0) if tags is not None and tags.get(PHOTOMETRIC) == 0 else (0, white)


def _to_8_bit(image: Image, black: int, white: int) -> Image:
    """Grey of up to 16 bits, as L; as LA where one of its values stands for transparency."""
    from PIL import Image as images

    pixels = np.asarray(image).astype(np.float64)
    scaled = np.rint((pixels - black) * (255 / (white - black)))
    if scaled.min() < 0 or scaled.max() > 255:
        raise DataError(
            f"the image has pixels beyond {max(black, white)}, the most that its format defines",
            hint="store it with unsigned integers of 8 or 16 bits a channel",
        )
    grey = images.fromarray(scaled.astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is None:
        return grey
    alpha = images.fromarray(np.where(pixels == transparent, 0, 255).astype(np.uint8))
    return images.merge("LA", (grey, alpha))


def _opaque(image: Image, background: tuple[int, int, int]) -> Image:
    from PIL import Image as images

    image = image.convert("RGBA")
    return images.alpha_composite(images.new("RGBA", image.size, (*background, 255)), image)


def make(options: Mapping[str, Any], context: Context) -> Processor:
    red, green, blue = options.get("background", (255, 255, 255))
    return DecodeImage(options.get("mode", "RGB"), (red, green, blue))


COMPONENT: Component[Processor] = Component(
    name="decode_image",
    make=make,
    summary="an image file or its bytes to uint8 (height, width, channels)",
    options={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "mode": {"enum": ["RGB", "L"], "default": "RGB", "description": "colour or greyscale"},
            "background": {
                "description": "colour under transparent pixels, as [red, green, blue]",
                "type": "array",
                "items": {"type": "integer", "minimum": 0, "maximum": 255},
                "minItems": 3,
                "maxItems": 3,
                "default": [255, 255, 255],
            },
        },
    },
)
