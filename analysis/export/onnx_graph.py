"""A detector as an ONNX graph, and how close the graph is to it.

input  pixels (N, side, side, 3) uint8, any N       output  score (N,) float32, logit of fake

Normalisation is inside. Products are float32, whatever the run computed in: autocast is no part of a graph.
"""

import copy
import time
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from cache.errors import UserError
from data.probing import cores
from finetune.detectors.detector import Detector, FeatureDetector

INPUT, OUTPUT = "pixels", "score"
OLDEST_OPSET = 18  # that PyTorch's exporter writes
LIMIT = 1e-3  # largest difference that float32 explains, in standard deviations of the run's validation scores


@dataclass(frozen=True)
class Parity:
    """The graph against the detector, largest absolute differences of scores.

    against: what images. spread: standard deviation of the run's validation scores. float32: from the detector in
    float32. compute, run: from the detector in its own number type, which called `flipped` images otherwise.
    milliseconds: for one image.
    """

    images: int
    against: str
    spread: float
    float32: float
    compute: str
    run: float
    flipped: int
    milliseconds: float

    @property
    def words(self) -> str:
        return (
            f"on {self.images} {self.against} scores differ by up to {self.float32:.1e} from PyTorch in float32 and "
            f"{self.run:.1e} from the run's own {self.compute}, at a spread of {self.spread:.3g}; {self.flipped} "
            "decisions differ from the run's"
        )


def to_onnx(detector: Detector, *, opset: int = 0) -> bytes:
    """The bytes of a .onnx file.

    Args:
        detector: in eval mode on the CPU. opset: 0 = PyTorch's own choice.

    Raises:
        UserError: a head of scikit-learn, several preprocessings, an opset or a layer that the exporter does not know.
    """
    _refuse(detector, opset)
    side = detector.preprocess.crop
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            _InFloat32(detector), (example,), dynamo=True, verbose=False, external_data=False,
            opset_version=opset or None, input_names=[INPUT], output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("images")},),
        )  # fmt: skip
        model = program.model_proto
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()
    except (torch.onnx.OnnxExporterError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError,
            ValueError) as error:  # fmt: skip
        raise UserError(f"PyTorch cannot export this detector to ONNX: {str(error).splitlines()[0]}") from error


@torch.inference_mode()
def measured_parity(model: bytes, detector: Detector, pixels: np.ndarray, *, against: str, spread: float,
            threshold: float) -> Parity:  # fmt: skip
    """Run the graph on pixels (n, side, side, 3) uint8, n > 1, all at once and the first one alone.

    Raises:
        UserError: it does not run, or differs by more than float32 explains.
    """
    together, alone, milliseconds = _run(model, pixels)
    images = torch.from_numpy(pixels)
    exact, own = (each(images).double().numpy() for each in (_InFloat32(detector), detector))
    difference = max(np.abs(together - exact).max(), np.abs(alone - exact[:1]).max())
    if not difference <= LIMIT * spread:
        raise UserError(
            f"the exported graph does not say what the detector says: over {len(pixels)} {against} scores differ by "
            f"up to {difference:.2g}, and their spread is {spread:.2g}. Nothing was written; try another OPSET."
        )
    return Parity(
        len(pixels), against, spread, float(difference), detector.compute, float(np.abs(together - own).max()),
        int(((together >= threshold) != (own >= threshold)).sum()), milliseconds,
    )  # fmt: skip


def _refuse(detector: Detector, opset: int) -> None:
    newest = onnx.defs.onnx_opset_version()
    if opset and not OLDEST_OPSET <= opset <= newest:
        raise UserError(f"OPSET={opset}: expected {OLDEST_OPSET} to {newest}")
    if isinstance(detector, FeatureDetector) and not detector.trainable:
        raise UserError(
            "this head is scikit-learn's, which is no part of a graph: choose a run with another, with RUN="
        )
    if len(detector.preprocesses) > 1:
        raise UserError("this head joins backbones that take the image in several forms; a graph has one input")


class _InFloat32(nn.Module):
    """A copy of a detector that computes in float32."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        self.detector.evaluate_in("fp32")
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.detector(pixels)


def _run(model: bytes, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Scores of all images at once (n,), of the first alone (1,), and the milliseconds of that."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (together,) = session.run([OUTPUT], {INPUT: pixels})
        session.run([OUTPUT], {INPUT: pixels[:1]})  # the first of a size is slower
        started = time.perf_counter()
        (alone,) = session.run([OUTPUT], {INPUT: pixels[:1]})
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise UserError(f"ONNX Runtime cannot run the exported graph: {str(error).splitlines()[0]}") from error
    return together, alone, 1000 * (time.perf_counter() - started)
