"""Files -> pixels: what is read, how much of it at once, and what is not an image."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest
from PIL import Image

from analysis.export import onnx_example
from cache.features import Preprocess
from cache.paths import ROOT
from data import disk, images
from data.images import BadImageError, decode, opened, probe
from data.preprocess import to_input
from tests.conftest import jpeg, picture

HOW = Preprocess(40, 32, "bicubic", (0.5,) * 3, (0.5,) * 3)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(values: np.ndarray, kind: str = "PNG") -> bytes:
    return encoded(Image.fromarray(values), kind)


def with_exif(segments: int) -> bytes:
    """A JPEG with many EXIF segments of 65 kB, as no camera writes it."""
    body = images.EXIF + bytes(65_000)
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    content = jpeg(picture(1, fake=False))
    return content[:2] + segments * segment + content[2:]


RAMP = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)  # 0..4095, as a sensor of 12 bits writes it


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_what_sixteen_bits_become_does_not_depend_on_the_brightest_pixel(kind):
    dark = np.where(RAMP < 256, RAMP, 255).astype(np.uint16)
    brighter = dark.copy()
    brighter[-1, -1] = 256  # one more than ever fits in 8 bits
    found = [np.asarray(decode(grey(values, kind))[0])[..., 0].astype(int) for values in (dark, brighter)]
    assert np.abs(found[0] - found[1]).max() == 0
    values = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    pixels = np.asarray(decode(grey(values, kind))[0])[..., 0]
    np.testing.assert_array_equal(pixels, np.rint(values / 257))


def test_sixteen_bits_of_the_other_end_and_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    expected = np.rint(RAMP / 257)
    other_end = decode(encoded(Image.fromarray(RAMP.astype(">u2")), "TIFF"))[0]
    np.testing.assert_array_equal(np.asarray(other_end)[..., 0], expected)
    turned, note = decode(encoded(Image.fromarray(RAMP), "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(turned)[..., 0], np.rot90(expected, -1))
    assert note == "EXIF rotation 6; 16-bit"


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_without_a_known_white_are_no_image(kind, tmp_path):
    values = (RAMP / 4095 if kind is np.float32 else RAMP).astype(kind)
    (tmp_path / "a.tif").write_bytes(grey(values, "TIFF"))
    found = probe(tmp_path, "a.tif")
    assert found.status == "unreadable"
    assert "what is white is not known" in found.note


def test_the_example_beside_an_export_reads_as_the_pipeline_does(tmp_path):
    base = picture(3, fake=True, side=70).resize((90, 70))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "jpg": jpeg(base), "cmyk.jpg": encoded(base.convert("CMYK"), "JPEG"),
        "grey.png": encoded(base.convert("L"), "PNG"),
        "turned.jpg": encoded(base, "JPEG", exif=exif), "palette.gif": encoded(base, "GIF"),
        "glass.png": encoded(Image.merge("RGBA", (*base.split(), base.convert("L"))), "PNG"),
        "dark.png": grey(RAMP // 20), "bright.png": grey(RAMP * 16), "sixteen.tif": grey(RAMP.astype(">u2"), "TIFF"),
        "float.tif": grey((RAMP / 4095).astype(np.float32), "TIFF"), "long.tif": grey(RAMP.astype(np.int32), "TIFF"),
        "eps.jpg": encoded(base, "EPS"), "ppm.jpg": encoded(base, "PPM"),
    }  # fmt: skip
    refused = []
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        try:
            expected = to_input(decode(content)[0], HOW)
        except BadImageError:
            refused.append(name)
            with pytest.raises((SystemExit, OSError)):
                onnx_example.pixels_of(str(tmp_path / name), asdict(HOW))
            continue
        found = onnx_example.pixels_of(str(tmp_path / name), asdict(HOW))[0]
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert refused == ["float.tif", "long.tif", "eps.jpg", "ppm.jpg"]
    assert onnx_example.FORMATS == images.FORMATS


@pytest.mark.parametrize("kind", ["EPS", "PPM", "ICO", "PCX", "PDF"])
def test_only_the_named_formats_are_opened(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started a program"))
    (tmp_path / "a.jpg").write_bytes(encoded(picture(1, fake=False), kind))
    found = probe(tmp_path, "a.jpg")
    assert (found.status, found.width) == ("unreadable", 0)
    assert "not an image of the formats" in found.note


def test_a_picture_of_several_in_jpeg_is_opened():
    base = picture(1, fake=False)
    assert decode(encoded(base, "MPO", save_all=True, append_images=[base]))[1] == "animated: first of 2 frames"


def test_exif_that_takes_for_ever_is_not_read():
    assert decode(with_exif(2))[0].size == (64, 64)
    with pytest.raises(BadImageError, match=f"800 EXIF segments, over {images.ENOUGH_EXIF}"):
        decode(with_exif(800))


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with (tmp_path / "big.jpg").open("wb") as file:
        file.truncate(disk.ENOUGH_BYTES + 1)  # a hole: no disk behind it
    (tmp_path / "good.jpg").write_bytes(jpeg(picture(1, fake=False)))
    (tmp_path / "link.jpg").symlink_to("good.jpg")
    names = ["pipe.jpg", "endless.jpg", "loop.jpg", "gone.jpg", "folder.jpg", "big.jpg", "link.jpg", "x" * 300 + ".jpg"]
    found = [(each.status, each.note) for each in (probe(tmp_path, name) for name in names)]
    assert found == [
        ("unreadable", "no regular file"), ("unreadable", "no regular file"),
        ("unreadable", "Too many levels of symbolic links"), ("missing", "no such file"), ("unreadable", "a folder"),
        ("enormous", "1,073,741,825 bytes, over 1,073,741,824"), ("ok", ""), ("unreadable", "File name too long"),
    ]  # fmt: skip


def test_no_more_pixels_are_in_memory_than_the_budget_has(monkeypatch):
    side, count = 50, 12
    monkeypatch.setattr(images, "budget", images.Budget(3 * side**2))
    content, inside, seen = jpeg(picture(1, fake=False, side=side)), [], []

    def work(_: int) -> None:
        with opened(content) as found:
            inside.append(found.image)
            seen.append(len(inside))
            np.asarray(found.image).sum()
            inside.remove(found.image)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))
    assert max(seen) <= 3
    assert images.budget.left == 3 * side**2


def test_who_finds_too_few_pixels_left_waits(monkeypatch):
    monkeypatch.setattr(images, "budget", images.Budget(100 * 100))
    large, small = (jpeg(picture(1, fake=False, side=side)) for side in (100, 10))
    begun, done, order = Barrier(2), Event(), []

    def hold() -> None:
        with opened(small):
            begun.wait()
            done.wait()
            order.append("held")

    def read(content: bytes, name: str) -> None:
        with opened(content):
            order.append(name)

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(hold)
        begun.wait()
        waiting = pool.submit(read, large, "large")
        done.set()
        held.result()
        waiting.result()
    assert order == ["held", "large"]


def test_a_bad_image_gives_its_pixels_back(monkeypatch):
    monkeypatch.setattr(images, "budget", images.Budget(64 * 64))
    for _ in range(3):
        with pytest.raises(BadImageError, match="truncated"):
            decode(jpeg(picture(1, fake=False))[:-300])
    assert decode(jpeg(picture(1, fake=False)))[0].size == (64, 64)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says how much memory was taken at most")
def test_a_pixel_takes_at_most_sixteen_bytes_while_it_is_probed(tmp_path):
    side = 4000
    Image.new("RGB", (8, 8)).save(tmp_path / "small.jpg")
    picture(1, fake=False).resize((side, side)).save(tmp_path / "large.jpg")
    code = (
        "import re, sys; from pathlib import Path; from data.images import probe\n"
        "assert probe(Path(sys.argv[1]), sys.argv[2]).status == 'ok'\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])"
    )

    def peak(name: str) -> int:
        call = [sys.executable, "-c", code, str(tmp_path), name]
        return 1024 * int(subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    assert (peak("large.jpg") - peak("small.jpg")) / side**2 < 15.5
