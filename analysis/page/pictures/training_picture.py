"""How the loss and the AUC of a fine-tuned detector went over its epochs, and which epoch was kept."""

from analysis.found.trainings import Training
from analysis.page.pictures.charts import Picture
from analysis.page.pictures.training_charts import Track, tracks
from finetune.recipes import Recipe


def training_picture(training: Training) -> Picture | None:
    """Loss and AUC over the epochs; None of a single epoch, which makes no curve."""
    result, epochs = training.result, training.epochs
    if len(epochs) < 2:
        return None
    kept = int((epochs.epoch == result.best_epoch).argmax())
    last = epochs.iloc[-1]
    return Picture(
        "finetune",
        tracks([], [Track.read(epochs, kept)], title=f"Training of {training.label}"),
        f"Validation AUC and loss of {training.label} over {len(epochs)} epochs; epoch {result.best_epoch}, which is "
        f"kept, has AUC {result.val_auc:.3f} and loss {result.val_loss:.3f}; at the end they are {last.val_auc:.3f} "
        f"and {last.val_loss:.3f}, and training loss is {last.train_loss:.3f}",
        _caption(training.recipe),
    )


def _caption(recipe: Recipe) -> str:
    """What must be known to read the curves."""
    alone = f" Up to epoch {recipe.head_epochs} only the head was trained." if recipe.head_epochs else ""
    averaged = " with the running average of the weights" if recipe.ema else ""
    return (
        "The best fine-tuned detector. Training loss is the mean over an epoch while weights move, with the recipe's "
        f"augmentation, smoothing and class weights; validation is judged without them at its end{averaged}, so the "
        f"two need not meet.{alone} Validation loss that rises while training loss falls is overfitting."
    )
