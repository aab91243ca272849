from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes.contexts import accepts, context, make
from mlms.builtins.processors import COMPONENTS, decode_image
from mlms.errors import DataError
from mlms.hooks import Processor

COLOURS = np.random.default_rng(0).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)


def decoder(**options: object) -> Processor:
    processor: Processor = make(COMPONENTS, "decode_image", options, context())
    return processor


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "jp2"])
def test_lossless_colour_is_exact(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(COLOURS))
    pixels = decoder()(path)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, COLOURS)
    assert np.array_equal(decoder()(str(path)), COLOURS)
    assert np.array_equal(decoder()(path.read_bytes()), COLOURS)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_lossy_colour_is_what_pillow_reads(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(COLOURS))
    assert np.array_equal(decoder()(path), np.asarray(Image.open(path).convert("RGB")))


def test_grey_as_colour_and_colour_as_grey(tmp_path: Path) -> None:
    grey = COLOURS[:, :, 0]
    path = save(tmp_path / "grey.png", Image.fromarray(grey))
    assert np.array_equal(decoder()(path), np.repeat(grey[:, :, None], 3, axis=2))
    assert np.array_equal(decoder(mode="L")(path), grey[:, :, None])
    path = save(tmp_path / "colour.png", Image.fromarray(COLOURS))
    assert np.array_equal(decoder(mode="L")(path)[:, :, 0], np.asarray(Image.fromarray(COLOURS).convert("L")))


def test_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1"))
    assert decoder(mode="L")(path).tolist() == [[[0], [255]]]


def test_a_palette(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert decoder()(save(tmp_path / "a.png", image)).tolist() == [[[10, 20, 30], [200, 100, 50]]]


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 128, 255)])
def test_transparency_shows_the_background(tmp_path: Path, background: tuple[int, int, int]) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [10, 20, 30, 51]]], dtype=np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(pixels))
    opaque, clear, mixed = decoder(background=list(background))(path)[0].astype(int)
    assert opaque.tolist() == [10, 20, 30]
    assert clear.tolist() == list(background)
    assert np.abs(mixed - (np.array([10, 20, 30]) * 0.2 + np.array(background) * 0.8)).max() <= 1


def test_every_way_to_store_transparency(tmp_path: Path) -> None:
    palette = Image.new("P", (1, 1))
    palette.putpalette([1, 2, 3])
    files = [
        save(tmp_path / "la.png", Image.new("LA", (1, 1), (0, 0))),
        save(tmp_path / "p.png", palette, transparency=0),
        save(tmp_path / "p.gif", palette, transparency=0),
        save(tmp_path / "l.png", Image.new("L", (1, 1), 7), transparency=7),
        save(tmp_path / "rgb.png", Image.new("RGB", (1, 1), (1, 2, 3)), transparency=(1, 2, 3)),
        save(tmp_path / "a.webp", Image.new("RGBA", (1, 1), (1, 2, 3, 0)), lossless=True),
        save(tmp_path / "a.tiff", Image.new("RGBA", (1, 1), (1, 2, 3, 0))),
    ]
    for file in files:
        assert decoder()(file).tolist() == [[[255, 255, 255]]], file.name
        assert decoder(mode="L")(file).tolist() == [[[255]]], file.name


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    wide = np.array([[0, 128, 129, 257, 32896, 65535]], dtype=np.uint16)
    pixels = decoder()(save(tmp_path / f"a.{suffix}", Image.fromarray(wide)))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 2])


def test_big_endian_16_bit_grey(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (2, 1), b"\x01\x01\xff\xff")
    assert decoder(mode="L")(save(tmp_path / "a.tiff", image)).tolist() == [[[1], [255]]]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bit_pixels_have_no_range(tmp_path: Path, mode: str) -> None:
    for value in (70_000, 200):
        path = save(tmp_path / "a.tiff", Image.new(mode, (2, 2), value))
        with pytest.raises(DataError, match=f"32-bit pixels \\(mode {mode}\\)") as caught:
            decoder()(path)
        assert str(path) in str(caught.value)


def grey_tiff(values: list[int], bits: int, *, photometric: int = 1, sample_format: int = 1, turned: int = 1) -> bytes:
    """One row as an uncompressed little-endian TIFF; 12 bits are packed, most significant first."""
    if bits == 12:
        data = int("".join(f"{value:012b}" for value in values), 2).to_bytes(len(values) * 12 // 8, "big")
    else:
        data = np.array(values).astype(f"<u{bits // 8}").tobytes()
    tags = {256: len(values), 257: 1, 258: bits, 259: 1, 262: photometric, 273: 0, 274: turned, 277: 1, 278: 1}
    tags |= {279: len(data), 339: sample_format}
    tags[273] = 8 + 2 + 12 * len(tags) + 4  # the pixels come after the directory
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def test_12_bit_grey_is_scaled_from_its_own_range() -> None:
    assert decoder()(grey_tiff([0, 1024, 2048, 4095], 12))[0, :, 0].tolist() == [0, 64, 128, 255]
    on_its_side = decoder()(grey_tiff([0, 1024, 2048, 4095], 12, turned=6))
    assert on_its_side[:, 0, 0].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_whose_zero_is_white(bits: int) -> None:
    step = (2**bits - 1) // 255
    image = grey_tiff([0, 64 * step, 128 * step, 255 * step], bits, photometric=0)
    assert decoder()(image)[0, :, 0].tolist() == [255, 191, 127, 0]


@pytest.mark.parametrize(
    ("bits", "sample_format", "problem"),
    [(8, 2, "signed 8-bit"), (16, 2, "signed 16-bit"), (32, 2, "signed 32-bit"), (32, 1, "unsigned 32-bit")],
)
def test_integers_without_a_range_are_refused(bits: int, sample_format: int, problem: str) -> None:
    with pytest.raises(DataError, match=f"{problem} pixels .* without a defined range") as caught:
        decoder()(grey_tiff([0, 50, 100, 127], bits, sample_format=sample_format))
    assert "unsigned integers of 8 or 16 bits" in (caught.value.hint or "")


def png(depth: int, colour: int, values: np.ndarray, transparent: list[int]) -> bytes:
    """One row; ``transparent`` is the tRNS chunk's colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", len(values), 1, depth, colour, 0, 0, 0)
    row = b"\0" + values.astype(f">u{depth // 8}").tobytes()
    key = np.array(transparent, ">u2").tobytes()
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", key), chunk(b"IDAT", zlib.compress(row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_16_bit_grey_with_a_transparent_value() -> None:
    """Of three values that are the same in 8 bits only the one is transparent."""
    image = png(16, 0, np.array([0x8000, 0x8001, 0x8002, 0xFFFF]), [0x8001])
    assert decoder(background=[7, 7, 7])(image)[0, :, 0].tolist() == [128, 7, 128, 255]


def test_16_bit_colour_with_a_transparent_one_is_refused() -> None:
    """Pillow would make black transparent here."""
    colours = np.repeat(np.array([[0], [0x8000]]), 3, axis=1)
    with pytest.raises(DataError, match="one transparent colour"):
        decoder()(png(16, 2, colours, [0x8000] * 3))
    assert decoder()(png(8, 2, np.repeat([[0], [128]], 3, axis=1), [128] * 3))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_cmyk_inverted_by_adobe_or_not(tmp_path: Path, suffix: str) -> None:
    """JPEG stores it inverted with an Adobe marker, TIFF as it is; both show the same colour."""
    path = save(tmp_path / f"a.{suffix}", Image.new("CMYK", (16, 16), (0, 255, 255, 0)))
    if suffix == "jpg":
        assert b"Adobe" in path.read_bytes()
        assert Image.open(path).mode == "CMYK"
    red, green, blue = decoder()(path)[8, 8].tolist()
    assert red > 250
    assert green < 5
    assert blue < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Against the standard's table: which side of the stored image the first row and column show."""
    quadrants = np.array([[0, 80], [160, 240]], dtype=np.uint8).repeat(16, 0).repeat(24, 1)
    exif = Image.Exif()
    exif[decode_image.ORIENTATION] = orientation
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(quadrants), exif=exif)
    pixels = decoder(mode="L")(path)[:, :, 0].astype(int)
    height, width = pixels.shape
    corners = [[pixels[height // 4 * row, width // 4 * column] for column in (1, 3)] for row in (1, 3)]
    upright = {
        1: [[0, 80], [160, 240]],
        2: [[80, 0], [240, 160]],
        3: [[240, 160], [80, 0]],
        4: [[160, 240], [0, 80]],
        5: [[0, 160], [80, 240]],
        6: [[160, 0], [240, 80]],
        7: [[240, 80], [160, 0]],
        8: [[80, 240], [0, 160]],
    }[orientation]
    assert (height, width) == ((32, 48) if orientation < 5 else (48, 32))
    assert np.abs(np.array(corners) - np.array(upright)).max() <= 8


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    first, second = Image.new("L", (2, 2), 10), Image.new("L", (2, 2), 200)
    path = save(tmp_path / "a.gif", first, save_all=True, append_images=[second])
    assert np.unique(decoder(mode="L")(path)).tolist() == [10]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff", "avif", "jp2"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"cut.{suffix}", Image.fromarray(noise))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="can't be decoded") as caught:
        decoder()(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"no image at all", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"]
)
def test_a_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match="in no image format known here"):
        decoder()(tmp_path / "a.jpg")


def test_a_damaged_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS))
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 10] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="can't be decoded"):
        decoder()(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        decoder()(tmp_path / "a.png")


def test_damaged_bytes_have_no_place() -> None:
    with pytest.raises(DataError) as caught:
        decoder()(b"x")
    assert caught.value.place is None


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("edge", [10_000, 20_000])
def test_a_decompression_bomb(tmp_path: Path, edge: int) -> None:
    image = io.BytesIO()
    Image.new("1", (edge, edge)).save(image, "png")
    (tmp_path / "bomb.png").write_bytes(image.getvalue())
    with pytest.raises(DataError, match="thought safe") as caught:
        decoder()(tmp_path / "bomb.png")
    assert str(tmp_path / "bomb.png") in str(caught.value)


def test_arrays_are_decoded_already() -> None:
    with pytest.raises(DataError, match="not ndarray"):
        decoder()(COLOURS)


@pytest.mark.parametrize(
    "options", [{"mode": "CMYK"}, {"size": 1}, {"background": [0, 0]}, {"background": [0, 0, 256]}]
)
def test_options_that_are_refused(options: dict[str, object]) -> None:
    assert not accepts(decode_image.COMPONENT, options)
