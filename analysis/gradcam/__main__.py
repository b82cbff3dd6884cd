"""`make gradcam`: heat maps of a finished run and their checks. `python -m analysis.gradcam --help`: the options."""

from analysis.gradcam.options import GradcamConfig
from cache.command import main

if __name__ == "__main__":
    main(GradcamConfig, "analysis.gradcam.run:run", command="python -m analysis.gradcam")
