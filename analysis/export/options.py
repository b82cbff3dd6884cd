"""Where a run is exported to, and for whom."""

from dataclasses import dataclass

from analysis.options import RunOptions
from cache.options import Options, option, section


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Options):
    """Write a finished run as an ONNX graph, with its preprocessing, a model card and an example."""

    run: RunOptions = section(RunOptions)
    out: str = option("", "folder to write to (default: one in runs/export)")
    opset: int = option(0, "version of the ONNX operators (default: PyTorch's own)")
