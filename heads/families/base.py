"""What a family of heads is: one class that holds everything peculiar to one kind of head.

The rest of the program asks a family and never looks at its type, so a new one is one file, here or anywhere:

    from heads.families import Family, Fitted, register

    @register
    @dataclass(frozen=True)
    class Contrast(Family):
        \"\"\"The difference between the means of both classes, shrunk.\"\"\"

        family: ClassVar[str] = "contrast"
        shrink: float = setting(0.0, least=0)

        @classmethod
        def fit(cls, members, source, *, report=None): ...

`{"family": "contrast", "shrink": [0, 0.1]}` in a grid then trains it beside the others; a command imports the module
that it is in with PLUGINS=module. The class is the family, and an object of it is one setting of its hyperparameters:
the fields, each made with cache.settings.setting, which also says what values it may have. A field's name and value are
part of the key of every run that trains it: renamed, they are another setting.

Only `fit` must be written. What else is here holds for heads that are linear in pooled features and is replaced by
families that are not. This file and those of the families import neither PyTorch nor scikit-learn outside a method, so
that a grid can be read, and a head be named, in milliseconds.
"""

from collections.abc import Callable, Hashable
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from cache.errors import UserError, one_of
from cache.key import differences
from cache.settings import Settings, keyed, setting

if TYPE_CHECKING:
    import torch

    from heads.families.member import Fitted, Member, Report
    from heads.fitting.stack import Committee, Shape
    from heads.fitting.task import MapTask, Task
    from heads.fitting.unfinished import Unfinished
    from heads.head_file import HeadRecord

PLAIN, L2, UNIT, LAYER = "none", "l2", "unit", "layer"
# A vector as it is, of length one, of length one with one deviation for all its columns, so that their proportions stay
# and the length of a head's weights is the scale that it learns, or of mean 0 and variance 1 over its numbers.
NORMS = (PLAIN, L2, UNIT, LAYER)
MANY = 1_000_000  # members of a bucket, where nothing limits them


@dataclass(frozen=True)
class Source:
    """What the members of a bucket are trained on. Nothing is read before `task` or `map_task` is called.

    columns: D of the pooled features, 0 where maps alone are read. rows: how many a fold trains on, every view
    counted. folds: how many there are. task: makes the pooled features, standardised. map_task: makes what gives the
    maps batch by batch. measured: seconds that were taken on these inputs, by what a family calls them, so that heads
    which cost the same are timed once. unfinished: where a family may keep what it has trained so far.
    """

    columns: int
    rows: int
    folds: int
    task: Callable[[], "Task"]
    map_task: Callable[[], "MapTask"]
    measured: dict[Hashable, float] = field(default_factory=dict)
    unfinished: "Unfinished | None" = None


def norm_setting() -> str:
    """A field `norm` of a family."""
    return setting(PLAIN, choices=NORMS, later=True)


@dataclass(frozen=True)
class Family(Settings):
    """One setting of a head; its class is the family.

    family: the word for it in grids, tables, files and keys.
    scouts: heads have no learning rate and no seed and are quick, so they look for the best inputs before all others
    start, and the best of them is the floor that the others must beat. For families on pooled features.
    reads_maps: heads read maps (N, ...) as they are cached, not vectors (N, D).
    by_gradient: trained epoch by epoch, with `lr`, `weight_decay`, `epochs`, `batch` and a training curve.
    streams: reads pooled features batch by batch, whether they fit into memory or not; one that asks its task for
    `training_rows` or `judged_rows` does not, and is refused where they do not fit.
    from_options: settings that the options HEAD_EPOCHS and HEAD_BATCH give where a grid does not: "epochs", "batch".
    norm: what happens to each vector before its columns are standardised, a word of heads.families.base.NORMS; families
    that leave the choice to a grid have a field of this name, made with `norm_setting`.
    """

    family: ClassVar[str] = ""
    scouts: ClassVar[bool] = False
    reads_maps: ClassVar[bool] = False
    by_gradient: ClassVar[bool] = False
    streams: ClassVar[bool] = False
    from_options: ClassVar[tuple[str, ...]] = ()
    norm = PLAIN  # not annotated: a field of this name would take its place, before those that have no default

    # How it is written.

    @property
    def name(self) -> str:
        """For people, and its identity in tables: the family and every setting that is not at its default, unrounded.

        Two different settings never share one.
        """
        given = [each for each in fields(self) if getattr(self, each.name) != each.default]
        return " ".join([self.family, *(f"{each.name}={written(getattr(self, each.name))}" for each in given)])

    def to_json(self) -> dict:
        """For keys, result.json and head files; heads.families.from_json is the inverse."""
        return {"family": self.family, **keyed(self)}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Family":
        """From what to_json gave, without the family and after a trip through JSON, where tuples are lists."""
        return cls(**settings)

    def in_table(self) -> dict[str, Any]:
        """Column of leaderboard.csv -> value."""
        return self.to_json()

    @classmethod
    def words(cls) -> tuple[str, ...]:
        """What a grid may call it."""
        return (cls.family,)

    @classmethod
    def answers_to(cls, word: str) -> bool:
        """Whether a grid means this family by a word."""
        return word in cls.words()

    @classmethod
    def refuse_settings(cls, word: str, settings: dict[str, Any]) -> None:
        """Before a block of a grid is expanded.

        Args:
            word: what the grid calls the family. settings: name -> what the grid says of it.

        Raises:
            UserError: a setting that it does not have, or one missing that has no default.
        """
        for name in settings:
            one_of(name, [each.name for each in fields(cls)], what=f"setting of {word}")
        needed = [each.name for each in fields(cls) if each.default is MISSING]
        missing = [name for name in needed if settings.get(name) in (None, [])]
        if missing:
            raise UserError(f"{word} needs {', '.join(missing)}")

    @classmethod
    def from_grid(cls, word: str, values: dict[str, Any]) -> "Family":
        """One setting of a grid. Raises: UserError for a value that it may not have."""
        return cls(**values)

    # How it is trained.

    @property
    def seeded(self) -> bool:
        """Whether another seed can give another head; if not, it is trained once."""
        return False

    @property
    def work(self) -> int:
        """How far one head moves the progress line: its epochs."""
        return 1

    @property
    def reads_generators(self) -> bool:
        """Whether it asks what made a fake image."""
        return False

    @property
    def strength(self) -> float:
        """How strongly it is penalised: of heads that are as good and as large, the one-standard-error rule takes
        the strongest."""
        return 0.0

    def shared(self, columns: int) -> Hashable:
        """What the members of a bucket share; settings that give the same are trained together, in one `fit`.

        Args:
            columns: D of the features that they read.
        """
        return (self.family,)

    def together(self, columns: int) -> int:
        """How many members a bucket may hold; what is in it is trained whole or, after a kill, once more."""
        return MANY

    @classmethod
    def fit(cls, members: list["Member"], source: Source, *, report: "Report | None" = None) -> list["Fitted"]:
        """Train a bucket: every member on the rows that its fold trains on, judged on those that it holds out.

        Only these are looked at: source.task() has training_rows, training_groups, judged_rows and standardisation for
        it, and heads.fitting.task.judge the two figures. What is random is a function of the member's seed.

        Args:
            report: to be called behind every epoch with its number, from 1, and what is known of each member so far.

        Returns:
            One for each member, in their order, with the tensors that `assembled` needs. By default these are weight
            (D,), bias (), mean (D,) and std (D,), float32, on the CPU: the head says ((x - mean) / std) @ weight +
            bias, the logit of fake. A member that could not be trained has no tensors, val_auc nan and val_loss inf.
        """
        raise NotImplementedError

    @classmethod
    def seconds(cls, members: list["Member"], source: Source) -> float | None:
        """About how long `fit` would take, early stopping left aside; None = unknown."""
        return None

    # How it is used.

    def shape(self, columns: int) -> "Shape":
        """The layers of one head on D pooled features."""
        from heads.fitting.stack import Shape

        return Shape(columns)

    def empty(self, record: "HeadRecord") -> "Committee":
        """A head of the right shape for all members, still to be filled.

        Args:
            record: what is kept beside the tensors; its config is this setting.
        """
        from heads.fitting.stack import Head

        return Head(self.shape(record.row_shape[0]), record.members, norm=self.norm)

    def assembled(self, record: "HeadRecord", members: list[dict[str, "torch.Tensor"]]) -> "Committee":
        """The head whose members these are; of each the tensors that `fit` gave."""
        head = self.empty(record)
        head.fill(members)
        return head

    def loaded(self, record: "HeadRecord", tensors: dict[str, "torch.Tensor"]) -> "Committee":
        """The head that a file holds; tensors: its state_dict.

        Raises:
            UserError: they are not those of such a head.
        """
        from cache.checkpoint import load_strictly

        head = self.empty(record)
        load_strictly(head, tensors, where="what the file holds")
        return head

    def refuse_other_shapes(self, record: "HeadRecord", shapes: dict[str, tuple[int, ...]]) -> None:
        """Before room is made for a head: its file must hold the tensors that its record speaks of, and no other ones.

        Args:
            shapes: of all tensors in the file, by name.

        Raises:
            UserError: it holds others.
        """
        of_member = self.shape(record.row_shape[0]).tensors()
        stack = {f"stack.{name}": (record.members, *shape) for name, shape in of_member.items()}
        refuse_unlike(standardisation(record) | stack, shapes)


def standardisation(record: "HeadRecord") -> dict[str, tuple[int, int]]:
    """Name -> shape (M, D) of the tensors by which each member standardises its pooled features."""
    return {name: (record.members, record.row_shape[0]) for name in ("mean", "std")}


def refuse_unlike(expected: dict, found: dict) -> None:
    """Raises: UserError for tensors that are not those of the record, with the first few."""
    unlike = differences(expected, found)
    if unlike:
        raise UserError("\n  ".join(["its tensors are not those of its record:", *unlike[:5]]))


def written(value: Any) -> str:
    """A value in the name of a setting."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
