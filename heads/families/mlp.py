"""The family `mlp`: a small network on pooled features, trained by gradient."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cache.errors import UserError
from cache.settings import setting
from heads.families.trained import Stacked

if TYPE_CHECKING:
    from heads.fitting.stack import Shape

WIDEST = 8192  # of a hidden layer; two such layers between three are half a gigabyte


@dataclass(frozen=True)
class Mlp(Stacked):
    """One to three hidden layers: linear, LayerNorm if asked for, activation, dropout."""

    family: ClassVar[str] = "mlp"
    hidden: tuple[int, ...] = setting((64,), least=1, most=WIDEST)
    activation: str = setting("gelu", choices=("gelu", "relu"))
    layer_norm: bool = setting(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.hidden) <= 3:
            raise UserError(f"hidden = {list(self.hidden)}: expected one to three widths")

    def shape(self, columns: int) -> "Shape":
        from heads.fitting.stack import Shape

        return Shape(columns, self.hidden, self.activation, self.layer_norm)
