"""Score an image with the files beside this one alone: python example.py face.jpg  (needs onnxruntime and Pillow)."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def pixels_of(path: str, how: dict) -> np.ndarray:
    """(1, crop, crop, 3) uint8 of an image file; how: resize, interpolation and crop of preprocess.json."""
    Image.init()
    image = Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    image = ImageOps.exif_transpose(image)
    if sixteen:
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise SystemExit(f"{path}: pixels of mode {image.mode}, and what is white is not known: save 8 or 16 bits")
    image = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if how["resize"]:
        sides = [max(how["resize"], round(side * (how["resize"] / min(image.size)))) for side in image.size]
        image = image.resize(sides, Image.Resampling[how["interpolation"].upper()])
    left, top = (round((side - how["crop"]) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + how["crop"], top + how["crop"])))[None]


if __name__ == "__main__":
    here = Path(__file__).parent
    how = json.loads((here / "preprocess.json").read_text())
    session = onnxruntime.InferenceSession(here / "model.onnx")
    score = float(session.run(None, {"pixels": pixels_of(sys.argv[1], how)})[0][0])
    called = "fake" if score >= how["threshold"] else "real"
    print(f"score {score:.6f}, probability of fake {1 / (1 + np.exp(-score / how['temperature'])):.3f}: {called}")
