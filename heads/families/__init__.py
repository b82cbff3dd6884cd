"""The families of heads, a file each, and how one finds them by name.

linear, mlp          trained by gradient, many at once
tail                 the rest of the backbone on cached maps
ridge, logistic      convex, a whole penalty path at once
discriminant         the difference of the means, whitened by what real images vary in
blend                ridge and such a discriminant as one head
sklearn              a scikit-learn classifier that can be kept

heads.families.base says what a family is and how to add one.
"""

from cache.errors import UserError, one_of, shown
from heads.families.base import Family, Source, refuse_unlike
from heads.families.blend import Blend
from heads.families.discriminant import Discriminant
from heads.families.estimator import Estimator
from heads.families.linear import Linear
from heads.families.logistic import Logistic
from heads.families.member import Fitted, Member, Point, Report
from heads.families.mlp import Mlp
from heads.families.ridge import Ridge
from heads.families.tail import Tail
from heads.families.trained import MOST_EPOCHS, MOST_SHARE

__all__ = [
    "FAMILIES", "MOST_EPOCHS", "MOST_SHARE", "Blend", "Discriminant", "Estimator", "Family", "Fitted", "Linear",
    "Logistic", "Member", "Mlp", "Point", "Report", "Ridge", "Source", "Tail", "from_json", "meant_by",
    "refuse_unlike", "register",
]  # fmt: skip
FAMILIES: dict[str, type[Family]] = {
    each.family: each for each in (Linear, Mlp, Tail, Ridge, Logistic, Discriminant, Blend, Estimator)
}


def register(kind: type[Family]) -> type[Family]:
    """Class decorator: from now on grids and head files may hold this family.

    Whoever trains or opens its heads must import the module that it is in; commands do with PLUGINS=module.

    Raises:
        UserError: it has no word, or one that stands for another family; it scouts for the best pooled features and
            reads maps.
    """
    taken = FAMILIES.get(kind.family, kind)
    if not kind.family or (taken.__module__, taken.__qualname__) != (kind.__module__, kind.__qualname__):
        raise UserError(
            f"{kind.__module__}.{kind.__qualname__} cannot be the family {kind.family!r}: expected a word of its own, "
            f"`family: ClassVar[str] = ...`. Taken: {', '.join(FAMILIES)}"
        )
    if kind.scouts and kind.reads_maps:
        raise UserError(f"the family {kind.family!r} scouts and reads maps: scouts look for the best pooled features")
    FAMILIES[kind.family] = kind
    return kind


def meant_by(word: str) -> type[Family]:
    """The family that a grid means by a word.

    Raises:
        UserError: none, with those that are known.
    """
    found = [kind for kind in FAMILIES.values() if kind.answers_to(word)]
    if not found:
        one_of(word, [known for kind in FAMILIES.values() for known in kind.words()], what="family")
    return found[0]


def from_json(record: dict) -> Family:
    """The inverse of Family.to_json, also after a trip through JSON.

    Raises:
        UserError: it is no such record, or of a family that is not known.
    """
    try:
        settings = {name: value for name, value in record.items() if name != "family"}
        kind = FAMILIES.get(record["family"])
        if kind:
            return kind.from_settings(settings)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"no setting of a head ({type(error).__name__}: {error})") from error
    raise UserError(
        f"no setting of a head: unknown family {shown(record['family'])}. Known: {', '.join(FAMILIES)}. One that a "
        "module of yours registers is known with PLUGINS=module"
    )
