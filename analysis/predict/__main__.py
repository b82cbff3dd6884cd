"""`make predict`: what a finished run says of new images. `python -m analysis.predict --help` lists the options."""

from analysis.predict.options import PredictConfig
from cache.command import main

if __name__ == "__main__":
    main(PredictConfig, "analysis.predict.run:run", command="python -m analysis.predict")
