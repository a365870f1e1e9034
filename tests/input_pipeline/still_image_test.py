"""Still images come out as viewers show them, or with one clear reason."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.input_pipeline import still_image

# Left half dark, right half bright, a mark in the top left corner.
PICTURE = np.full((40, 60, 3), 40, np.uint8)
PICTURE[:, 30:] = 200
PICTURE[:8, :8] = (250, 10, 10)


def encoded(image, kind="PNG", **options):
  file = io.BytesIO()
  if isinstance(image, np.ndarray):
    image = PIL.Image.fromarray(image)
  image.save(file, kind, **options)
  return file.getvalue()


def decode(data):
  return np.asarray(still_image.decode(data))


def size(data):
  return still_image.read_size(io.BytesIO(data))


def reason(data, read=decode):
  with pytest.raises(still_image.Unreadable) as caught:
    read(data)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def exif(orientation):
  tags = PIL.Image.Exif()
  tags[0x0112] = orientation
  return tags


def png_chunk(kind, content):
  body = kind + content
  length, check = struct.pack(">I", len(content)), zlib.crc32(body)
  return length + body + struct.pack(">I", check)


def png_with_chunk_at_the_end(kind, content):
  data = encoded(PICTURE)
  return data[:-12] + png_chunk(kind, content) + data[-12:]


class TestOrientation:
  # What the stored picture must become, by EXIF orientation.
  TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, 1),
  }

  @pytest.mark.parametrize("kind", ("PNG", "WEBP", "JPEG"))
  @pytest.mark.parametrize("orientation", TURNS)
  def test_all_eight_in_every_format(self, kind, orientation):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(PICTURE, kind, exif=exif(orientation), **options)
    expected = self.TURNS[orientation](PICTURE)
    assert size(data) == expected.shape[:2]
    decoded = decode(data)
    assert decoded.shape == expected.shape
    assert abs(decoded.astype(int) - expected).mean() < 3

  def test_tags_behind_the_pixels_of_a_png(self):
    data = png_with_chunk_at_the_end(b"eXIf", exif(6).tobytes())
    assert size(data) == (60, 40)
    assert np.array_equal(decode(data), self.TURNS[6](PICTURE))

  def test_damaged_tags_do_not_spoil_the_picture(self):
    data = png_with_chunk_at_the_end(b"eXIf", b"MM\0*\0\0\0\xff\x07")
    assert size(data) == (40, 60)
    assert np.array_equal(decode(data), PICTURE)


class TestDepth:
  def test_16_bits_are_scaled(self):
    levels = np.linspace(0, 65535, 256 * 9).reshape(36, 64).astype(np.uint16)
    decoded = decode(encoded(levels))
    expected = np.round(levels / 257).astype(np.uint8)
    assert np.array_equal(decoded, np.repeat(expected[..., None], 3, -1))

  def test_transparent_level_of_16_bits(self):
    levels = np.full((4, 4), 1000, np.uint16)
    levels[0] = 300
    # Pillow does not write the chunk that names the level.
    data = encoded(levels)
    chunk = png_chunk(b"tRNS", struct.pack(">H", 300))
    start = data.index(b"IDAT") - 4
    decoded = decode(data[:start] + chunk + data[start:])
    assert decoded[0].min() == 255 and decoded[1:].max() == 4

  @pytest.mark.parametrize("mode", ("I", "F"))
  def test_more_than_16_bits_are_refused(self, mode, monkeypatch):
    # No format that is read has them; TIFF stands for one to come.
    monkeypatch.setattr(still_image, "FORMATS", ("TIFF",))
    data = encoded(PIL.Image.new(mode, (8, 8)), "TIFF")
    assert reason(data) == f"mode {mode}, expected 8 or 16 bits a channel"

  @pytest.mark.parametrize("mode", ("1", "L", "P", "CMYK", "LA"))
  def test_other_modes(self, mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    data = encoded(PIL.Image.new("RGB", (8, 8), "white").convert(mode), kind)
    assert (decode(data) == 255).all()


class TestAlpha:
  def test_hidden_colour_is_composed_on_white(self):
    image = np.zeros((2, 3, 4), np.uint8)
    image[0] = (0, 255, 0, 0)
    image[1] = (200, 0, 0, 255)
    image[1, 2, 3] = 51  # a fifth
    for kind in ("PNG", "WEBP"):
      options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
      decoded = decode(encoded(image, kind, **options))
      assert (decoded[0] == 255).all()
      assert decoded[1, 0].tolist() == [200, 0, 0]
      assert decoded[1, 2].tolist() == [244, 204, 204]

  def test_transparent_colour_and_palette_entry(self):
    image = PIL.Image.fromarray(PICTURE)
    decoded = decode(encoded(image, transparency=(40, 40, 40)))
    assert decoded[20, 5].tolist() == [255, 255, 255]
    assert decoded[20, 40].tolist() == [200, 200, 200]
    palette = image.convert("P", palette=PIL.Image.Palette.ADAPTIVE)
    hidden = palette.getpixel((5, 20))
    decoded = decode(encoded(palette, transparency=hidden))
    assert decoded[20, 5].tolist() == [255, 255, 255]
    assert decoded[20, 40].tolist() == [200, 200, 200]


class TestAnimation:
  @pytest.mark.parametrize("kind", ("PNG", "WEBP"))
  def test_frames_and_durations(self, kind):
    images = [PIL.Image.new("RGB", (8, 6), (i, 0, 0)) for i in (10, 99, 200)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(
      images[0],
      kind,
      save_all=True,
      append_images=images[1:],
      duration=[40, 0, 500],
      **options,
    )
    with still_image.opened(io.BytesIO(data)) as image:
      assert still_image.num_frames(image) == 3
      found = [
        (x.getpixel((0, 0))[0], seconds)
        for x, seconds in still_image.frames(image)
      ]
    assert found == [(10, 0.04), (99, 0.1), (200, 0.5)]
    for read in (decode, size):
      assert "animation of 3 frames, expected a still" in reason(data, read)

  def test_default_image_is_no_frame(self):
    images = [PIL.Image.new("L", (8, 6), i) for i in (1, 2, 3)]
    data = encoded(
      images[0], save_all=True, append_images=images[1:], default_image=True
    )
    with still_image.opened(io.BytesIO(data)) as image:
      found = [np.asarray(x)[0, 0, 0] for x, _ in still_image.frames(image)]
    assert found == [2, 3]

  def test_second_picture_of_a_camera_is_no_frame(self):
    image = PIL.Image.fromarray(PICTURE)
    data = encoded(image, "MPO", save_all=True, append_images=[image])
    assert decode(data).shape == PICTURE.shape


class TestRefused:
  def test_decompression_bombs(self, tmp_path, make_bomb):
    limit = r"more than the limit of 89,478,485"
    # Pillow raises on the first and only warns of the second.
    for side, number in ((15000, "225,000,000"), (10000, "10000x10000")):
      data = make_bomb(tmp_path / "bomb.png", side).read_bytes()
      for read in (decode, size):
        assert reason(data, read) == f"{number} pixels, {limit}"

  def test_no_image(self):
    assert reason(b"") == "the file is empty"
    assert reason(b"<html>") == "not a JPEG, PNG, WebP or BMP image"
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    assert reason(postscript) == "not a JPEG, PNG, WebP or BMP image"

  @pytest.mark.parametrize("kind", still_image.FORMATS)
  def test_damaged_bytes_give_a_reason_or_a_picture(self, kind):
    random = np.random.default_rng(0)
    data = encoded(PICTURE, kind)
    with pytest.raises(still_image.Unreadable):
      decode(data[: len(data) // 2])
    for _ in range(60):
      damaged = bytearray(data)
      for place in random.integers(0, len(data), 4):
        damaged[place] = random.integers(256)
      try:
        assert decode(bytes(damaged)).ndim == 3
      except still_image.Unreadable as e:
        assert str(e)
