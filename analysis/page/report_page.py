"""`make report`: run folders -> one HTML page with its tables and pictures beside it.

runs/report/<dataset>/index.html      opens offline, everything inside
                      summary.json    the same figures for programs
                      models.csv      all figures, a row for each model and split
                      sweep.csv       the leaderboard of the best sweep, if there is one
                      *.csv           every table of the page;  *.png, *.svg every picture
"""

from pathlib import Path

import pandas as pd

from analysis.found.models import Model
from analysis.judge.metrics import METRICS
from analysis.page import model_tables, run_tables
from analysis.page.contents import Contents, ReportConfig, read_contents
from analysis.page.group_tables import groups_table
from analysis.page.html import write_page
from analysis.page.pictures.atlas_picture import atlas_picture
from analysis.page.pictures.charts import Picture
from analysis.page.pictures.copies_picture import copies_picture
from analysis.page.pictures.gallery import gallery, heat_maps_picture
from analysis.page.pictures.inputs_picture import inputs_picture
from analysis.page.pictures.model_pictures import model_pictures
from analysis.page.pictures.perturbed_pictures import perturbed_pictures
from analysis.page.pictures.sweep_pictures import sweep_pictures
from analysis.page.pictures.training_picture import training_picture
from analysis.page.summary import models_table, summary
from analysis.page.tables import Table
from analysis.page.template_values import template_values
from analysis.predict.spreadsheet import write_for_people
from cache import paths
from cache.atomic import write_json
from data.manifest import Manifest

TEMPLATE = "report.html.j2"
SLICES = 15  # on the page; the CSV has all


def run(config: ReportConfig) -> Path:
    """Write the page of a data set from its finished runs; its folder.

    Made anew at each call, from saved predictions alone: it takes seconds and must not lag behind the runs.

    Raises:
        UserError: no manifest, or no finished run on the data as it is now.
    """
    contents, folder = read_contents(config), paths.report_dir(config.dataset)
    write_for_people(folder / "models.csv", models_table(contents.models))
    _copy_leaderboard(contents.sweeps, folder / "sweep.csv")
    write_json(
        folder / "summary.json",
        summary(contents.manifest, contents.models, contents.on_generators),
    )
    of_sweep = _sweep_pictures(contents.sweeps, contents.manifest)
    write_page(
        folder, TEMPLATE, tables=_tables(contents), pictures=[*_pictures(contents), *of_sweep],
        keep=("models.csv", "sweep.csv"), sweep_pictures=[each.name for each in of_sweep], **template_values(contents),
    )  # fmt: skip
    _say(contents, folder)
    return folder


def _pictures(contents: Contents) -> list[Picture]:
    """All but those of the sweep."""
    made = model_pictures(contents.models)
    if contents.perturbed:
        made += perturbed_pictures(contents.perturbed)
    if contents.heat:
        made.append(heat_maps_picture(contents.heat))
    if contents.config.faces:
        made += [
            *gallery(contents.best, contents.manifest),
            *copies_picture(contents.audit.copies, contents.manifest.root),
        ]
    training = training_picture(contents.trainings[0].made) if contents.trainings else None
    return [*made, training] if training else made


def _sweep_pictures(sweeps: list[Model], manifest: Manifest) -> list[Picture]:
    """What the best sweep tried, and the inputs of all sweeps side by side."""
    if not sweeps:
        return []
    each = (inputs_picture([model.made for model in sweeps]), atlas_picture(sweeps[0].made, manifest))
    return [*sweep_pictures(sweeps[0].made), *filter(None, each)]


def _tables(contents: Contents) -> list[Table]:
    best, models, manifest = contents.best, contents.models, contents.manifest
    made = [
        *run_tables.data_tables(manifest, contents.audit), model_tables.ranking_table(models),
        model_tables.comparison_table(models, contents.comparisons), model_tables.metrics_table(best),
        model_tables.thresholds_table(best), model_tables.slices_table(contents.slices, limit=SLICES),
        run_tables.cost_table(models, contents.extractions), run_tables.provenance_table(best, manifest),
    ]  # fmt: skip
    others = sorted({name for model in models for name in model.other})
    if others:
        made.append(model_tables.other_table(models))
    if len(others) > 1:
        made.append(model_tables.transfer_table(models, manifest.dataset, others))
    if best.by_group:
        made.append(groups_table(best))
    if contents.unseen:
        made.append(model_tables.generators_table(contents.unseen))
    if contents.unseen_by_detector:
        made.append(model_tables.generators_table(contents.unseen_by_detector, name="generators_finetuned"))
    if contents.perturbed:
        made.append(model_tables.perturbed_table(contents.perturbed))
    if contents.sweeps:
        made.append(run_tables.leaders_table(contents.sweeps[0].made))
    if contents.trainings:
        made.append(run_tables.trainings_table(contents.trainings, best))
    return made


def _copy_leaderboard(sweeps: list[Model], path: Path) -> None:
    """Write that of the best sweep; where there is no sweep any more, that of an earlier page goes."""
    if sweeps:
        board = pd.read_csv(sweeps[0].folder / "leaderboard.csv", dtype=str, keep_default_na=False)  # digit by digit
        write_for_people(path, board)
    else:
        path.unlink(missing_ok=True)


def _say(contents: Contents, folder: Path) -> None:
    best, reached = contents.best, contents.best.evaluation
    name = "auc" if "auc" in reached.metrics else "accuracy"
    figure, label = reached.metrics[name], METRICS[name].label
    print(
        f"report {contents.manifest.dataset}{' (synthetic)' if contents.manifest.synthetic else ''}: {best.made.title} "
        f"{best.made.name}, {'test' if best.test else 'validation'} {label} {figure.value:.3f} "
        f"[{figure.low:.3f}, {figure.high:.3f}] -> {folder / 'index.html'}"
    )
