"""`make gradcam`: a finished run -> pictures of where it sees the evidence, and how far they can be believed.

    python -m analysis.gradcam --run=name --num_samples=12 --target=predicted --split=test

runs/gradcam/<run>-<key>/   sheet.png                   all images, each beside itself with its map
                            <kind>-<number>-<name>.png  one of them
                            maps.csv                    what each is, was called, and how much its map holds
                            result.json                 the checks of analysis.gradcam.faithfulness; written last

Shown are a third each of the images that the run is most sure of and right, most sure of and wrong, and least sure of,
by its saved scores of the split and its threshold fixed on validation. The maps are those of the evaluation view, also
where scores are means over several. From Python: heatmaps.heat_maps, and findings.read_heat_maps.
"""

from pathlib import Path

from analysis.found.run_option import chosen_run
from analysis.gradcam.findings import SHEET, STAGE, VERSION, read_heat_maps
from analysis.gradcam.options import GradcamConfig
from cache import paths, runs
from cache.key import file_digest, key
from heads.predictions import predictions_file, validation_digest


def run(config: GradcamConfig) -> Path:
    """Draw and check; the folder. Does nothing when it is complete.

    Raises:
        UserError: no such run; it did not score the split, or its data changed since; a head of scikit-learn.
    """
    judge = chosen_run(config.run)
    folder = paths.run_dir(STAGE, f"{judge.name}-{_identity(judge, config)}")
    if not runs.is_complete(folder):
        from analysis.gradcam import drawing  # with the network, which takes seconds to import

        with drawing.memory_told():
            scored = drawing.Scored.of(judge, config)
            runs.begin(folder, config.flat() | {"run": str(judge)})
            zero = drawing.draw(scored, folder)
            runs.log(folder, f"gradcam: drew {config.num_samples} of {len(scored.found.scores)} images, now the checks")
            runs.finish(folder, _about(judge, config) | {"zero": zero} | drawing.checked(scored))
        for sentence in read_heat_maps(folder).findings:
            runs.log(folder, f"gradcam: {sentence}")
    print(f"gradcam {judge.name}: {config.split} -> {folder / SHEET}")
    return folder


def _about(judge: Path, config: GradcamConfig) -> dict:
    """What result.json says of the run."""
    result = runs.result(judge)
    return {
        "run": judge.name, "scored": validation_digest(judge),
        "dataset": result["dataset"], "synthetic": result["synthetic"],
        "random_weights": result["random_weights"], "split": config.split, "target": config.target,
        "method": config.method, "version": VERSION,
    }  # fmt: skip


def _identity(judge: Path, config: GradcamConfig) -> str:
    """What the pictures depend on: the run by what it scored, and what was asked for."""
    scored = {split: file_digest(file) for split in ("val", config.split)
              if (file := predictions_file(judge, split)).exists()}  # fmt: skip
    asked = {"target": config.target, "split": config.split, "method": config.method, "count": config.num_samples}
    return key({"run": judge.name, "scores": scored, "version": VERSION} | asked)
