from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data.images import read_image, to_rgb
from trainer.errors import DatasetError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb_with_the_same_picture(mode: str) -> None:
    grey = Image.fromarray(GREY).point(lambda level: 255 * (level > 127))
    assert np.array_equal(to_rgb(grey.convert(mode)), to_rgb(grey))


def test_sixteen_bits_keep_their_upper_half() -> None:
    deep = (GREY.astype(np.uint16) << 8) + 77
    assert np.array_equal(to_rgb(Image.fromarray(deep))[..., 1], GREY)
    assert np.array_equal(to_rgb(Image.fromarray(deep.astype(np.int32)))[..., 1], GREY)


def test_transparency_lies_on_white() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 0, 51, 255  # alpha
    assert to_rgb(Image.fromarray(pixels, "RGBA"))[0, :, 0].tolist() == [255, 204, 0]


def test_a_transparent_palette_entry_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=bytes([0, 255]))
    assert read_image(tmp_path / "palette.png").tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, GREY), (2, GREY[:, ::-1]), (3, GREY[::-1, ::-1]), (6, GREY.T[:, ::-1]), (8, GREY.T[::-1])],
)
def test_the_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, upright: np.ndarray
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(GREY).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "photo.png")[..., 0], upright)


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "film.gif") == (255, 0, 0)).all()


def _empty(data: bytes) -> bytes:
    return b""


def _text(data: bytes) -> bytes:
    return b"these are not pixels"


@pytest.mark.parametrize("damage", [_empty, _text, lambda data: data[: len(data) // 2]])
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "webp", "tiff"])
def test_what_is_no_picture_is_named(
    tmp_path: Path, kind: str, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"broken.{kind}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=rf"broken\.{kind}' is not a readable image") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:::PIL")  # about damaged headers
@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "webp", "tiff"])
def test_random_damage_gives_a_picture_or_our_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"image.{kind}"
    Image.fromarray(GREY).convert("RGB").save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            image = read_image(path)
        except DatasetError:
            continue
        assert image.dtype == np.uint8
        assert image.ndim == 3


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "depth.tiff")
    with pytest.raises(DatasetError, match="no 8-bit meaning"):
        read_image(tmp_path / "depth.tiff")
