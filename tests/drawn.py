"""Drawn faces that the real detector takes for faces, so that no image of a person is needed."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

DRAWN = 384  # pixels, made smaller afterwards
GREY = 27  # of what lies around


def drawn_face(side: int = 96, *, seed: int = 0, fake: bool = False) -> Image.Image:
    """A face that fills about two thirds of a square; fakes carry a checkerboard, so that heads have something to find.

    Its eyes lie at .37 and .63 of the width and .46 of the height.
    """
    rng = np.random.default_rng(seed)
    image = Image.new("L", (DRAWN, DRAWN), GREY)
    draw = ImageDraw.Draw(image)
    hair, neck, cloth, skin = 61, 120, 163, int(rng.integers(185, 205))
    parts = [(0.5, 0.42, 0.34, 0.38, hair), (0.5, 0.85, 0.12, 0.15, neck), (0.5, 1.08, 0.5, 0.22, cloth),
             (0.5, 0.5, 0.27, 0.36, skin), (0.5, 0.715, 0.09, 0.028, 100)]  # fmt: skip
    for x in (0.37, 0.63):
        nostril = 0.5 + 0.3 * (x - 0.5)
        parts += [(x, 0.4, 0.07, 0.022, 50), (x, 0.46, 0.055, 0.03, 235), (x, 0.46, 0.028, 0.028, 30),
                  (nostril, 0.61, 0.02, 0.014, 80)]  # fmt: skip
    for x, y, across, down, grey in parts:
        draw.ellipse([DRAWN * each for each in (x - across, y - down, x + across, y + down)], fill=grey)
    small = image.filter(ImageFilter.GaussianBlur(DRAWN * 0.029)).resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(small, float)[..., None] * (1, 0.8, 0.68) + rng.normal(0, 3, (side, side, 3))
    if fake:
        pixels[::2, ::2] += 14
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def photograph(size: tuple[int, int], *faces: tuple[int, int, int, float], fake: bool = False) -> Image.Image:
    """Faces in a larger picture, each given by its centre, side and degrees by which it is turned anticlockwise."""
    image = Image.new("RGB", size, (GREY, round(GREY * 0.8), round(GREY * 0.68)))
    for number, (x, y, side, angle) in enumerate(faces):
        face = drawn_face(side, seed=number, fake=fake)
        mask = Image.new("L", face.size, 255)
        turned = [each.rotate(angle, Image.Resampling.BICUBIC, expand=True) for each in (face, mask)]
        image.paste(turned[0], (x - turned[0].width // 2, y - turned[0].height // 2), turned[1])
    return image
