"""What is said of one image."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image. Where status is not ok, `reason` says why and there is no score.

    digest: sha256 of the file's bytes, or of the pixels of an image in memory; '' where nothing could be read.
    score: logit of fake. probability: of fake, calibrated. threshold: the probability from which on an image is called
    fake. rule: by which validation fixed it, or `given`. decision: real or fake. uncertain: too close to call.
    copies: of the image that were scored too, as data.perturb.COPIES has them; flips: how many of them are called
    otherwise, flipped_by: which, in words. note: what was done to the image. seen: the split of the run's own data that
    holds it, else ''. heat_map: the name of its picture, if one was drawn.
    face, face_score, face_box: with FACES=1 which of the image's faces, of which 1 is the largest; how sure of it who
    found it is; left, top, right and bottom of it in pixels of the upright image.
    """

    path: str
    digest: str = ""
    status: str = "ok"
    reason: str = ""
    score: float | None = None
    probability: float | None = None
    threshold: float | None = None
    rule: str = ""
    decision: str = ""
    uncertain: bool | None = None
    copies: int | None = None
    flips: int | None = None
    flipped_by: str = ""
    note: str = ""
    seen: str = ""
    heat_map: str = ""
    face: int | None = None
    face_score: float | None = None
    face_box: str = ""
