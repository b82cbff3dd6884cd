"""Score an image with the files beside this one alone: python example.py face.jpg  (needs onnxruntime and Pillow)."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

here = Path(__file__).parent
how = json.loads((here / "preprocess.json").read_text())
image = ImageOps.exif_transpose(Image.open(sys.argv[1]))
if image.mode.startswith(("I", "F")):  # 16-bit
    values = np.asarray(image, float)
    image = Image.fromarray((values / (65535 if values.max() > 255 else 255) * 255 + 0.5).clip(0, 255).astype(np.uint8))
image = image.convert("RGBA")
image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
if how["resize"]:
    sides = [max(how["resize"], round(side * (how["resize"] / min(image.size)))) for side in image.size]
    image = image.resize(sides, Image.Resampling[how["interpolation"].upper()])
left, top = (round((side - how["crop"]) / 2) for side in image.size)
pixels = np.asarray(image.crop((left, top, left + how["crop"], top + how["crop"])))[None]
score = float(onnxruntime.InferenceSession(here / "model.onnx").run(None, {"pixels": pixels})[0][0])
called = "fake" if score >= how["threshold"] else "real"
print(f"score {score:.6f}, probability of fake {1 / (1 + np.exp(-score / how['temperature'])):.3f}: {called}")
