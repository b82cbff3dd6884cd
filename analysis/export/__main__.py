"""`make export`: a finished run as ONNX, with a model card. `python -m analysis.export --help` lists the options."""

from analysis.export.options import ExportConfig
from cache.command import main

if __name__ == "__main__":
    main(ExportConfig, "analysis.export.run:run", command="python -m analysis.export")
