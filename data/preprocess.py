"""From a decoded image to the network's uint8 input: view 0 is the evaluation preprocess, views 1..k are augmented.

A view is a function of the image's digest and the view's number alone, so a cached augmentation can be made again.
A perturbed image is one that was changed before the evaluation preprocess.
Normalisation happens later, on the device (extract.networks.backbones.Normalise).
"""

import numpy as np
from PIL import Image

from cache.errors import UserError
from cache.features import Preprocess
from data.augment import Augmentation, Draw, changed, random_window
from data.options import AUGMENTATIONS, MILD
from data.perturb import Perturbation

DRAWN = {  # in views 1..k, by the name in their spec
    AUGMENTATIONS[MILD]: Augmentation(flip=0.5, rotation=10, zoom=0.8, colour=0.2, jpeg=0.5),
    AUGMENTATIONS["harsh"]: Augmentation(flip=0.5, zoom=0.8, jpeg=0.5, lowest_quality=40, blur=0.5, chain=0.3),
}
INTERPOLATION = {name.lower(): value for name, value in Image.Resampling.__members__.items()}


def of_view(view: int, policy: str = "") -> Draw | Perturbation | None:
    """What makes a cached view of an image, as a FeatureSpec says it; None is the evaluation view.

    Raises:
        UserError: views of a policy that this version of the program does not draw.
    """
    if view and policy not in DRAWN:
        raise UserError(f"views of {policy!r} are not drawn by this version of the program, but of {', '.join(DRAWN)}")
    if view:
        return Draw(DRAWN[policy], (view,))
    return Perturbation.named(policy) if policy else None


def draws_of(views: int, augmentation: str) -> list[Draw | Perturbation | None]:
    """What makes each of so many views, the first being the evaluation view. Raises: UserError as of_view."""
    return [of_view(view, augmentation if view else "") for view in range(views)]


def to_input(image: Image.Image, how: Preprocess, *, digest: str = "",
             draw: Draw | Perturbation | None = None) -> np.ndarray:  # fmt: skip
    """(crop, crop, 3) uint8 of an RGB image; smaller where the augmentation cuts windows.

    Without a draw: shorter side to how.resize (0 = as it is), centre crop, black where the image is smaller.
    """
    if isinstance(draw, Perturbation):
        image, draw = draw.of(image, digest), None
    if draw is None:
        return np.asarray(_centre(_resized(image, how.resize, how), how.crop))
    rng = draw.generator(digest)
    side = how.resize or min(image.size)  # a zoomed image returns to its own size
    image = _resized(changed(image, draw.augmentation, rng), side, how)
    if not draw.augmentation.window:
        return np.asarray(_centre(image, how.crop))
    return np.asarray(random_window(image, draw.augmentation.side(how.crop), rng))


def _resized(image: Image.Image, side: int, how: Preprocess) -> Image.Image:
    if not side:
        return image
    scale = side / min(image.size)
    size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
    return image if size == image.size else image.resize(size, INTERPOLATION[how.interpolation])


def _centre(image: Image.Image, side: int) -> Image.Image:
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image.crop((left, top, left + side, top + side))
