"""From a tap's map to a pooled vector, the same whether the map comes from the network or from a shard."""

from collections.abc import Iterator

import torch

from cache.errors import UserError

CACHE_FRIENDLY = 8  # images at once: their float32 copies stay in a core's cache, 3 times faster on a CPU


def pool(tapped: torch.Tensor, pooling: str, *, channels_last: bool = False, prefix_tokens: int = 0) -> torch.Tensor:
    """`map` as it is; float32 `avg` (N, C) and `avgstd` (N, 2C), mean and standard deviation over space; `cls` (N, C).

    `cls` is the first token, where the network keeps its class token.

    Args:
        tapped: (N, C, H, W), (N, H, W, C) if channels_last, tokens (N, T, C), or vectors (N, C).
        prefix_tokens: tokens before the spatial ones (class, registers); they are not averaged.

    Raises:
        UserError: `cls` of a tap without tokens before the spatial ones, or a tap of other dimensions.
    """
    if pooling == "map":
        return tapped
    if pooling == "cls":
        return _first_token(tapped, prefix_tokens)
    parts = [_moments(part, pooling, 1) for part in _pieces(_places(tapped, channels_last, prefix_tokens))]
    return torch.cat(parts)


def pool_in_graph(tapped: torch.Tensor, pooling: str, *, channels_last: bool, prefix_tokens: int) -> torch.Tensor:
    """The same as part of a graph that is compiled for a CPU: maps are neither turned nor cut into pieces, which would
    cost such a graph a quarter of its speed."""
    if pooling == "map":
        return tapped
    if pooling == "cls":
        return _first_token(tapped, prefix_tokens)
    if tapped.ndim == 4 and not channels_last:
        return _moments(tapped, pooling, (2, 3))
    return _moments(_places(tapped, channels_last, prefix_tokens), pooling, 1)


def _first_token(x: torch.Tensor, prefix_tokens: int) -> torch.Tensor:
    """(N, C) float32."""
    if x.ndim != 3 or not prefix_tokens:
        raise UserError(f"a tap with outputs of shape {tuple(x.shape)} has no class token: choose avg, or another tap")
    return x[:, 0].float()


def _places(x: torch.Tensor, channels_last: bool, prefix_tokens: int) -> torch.Tensor:
    """(N, places, C), without a copy where memory is channels-last already."""
    if x.ndim == 4:
        return (x if channels_last else x.permute(0, 2, 3, 1)).flatten(1, 2)
    if x.ndim == 3:
        return x[:, prefix_tokens:]
    if x.ndim == 2:
        return x[:, None]
    raise UserError(f"a tap with outputs of shape {tuple(x.shape)} cannot be pooled; choose another tap")


def _pieces(x: torch.Tensor) -> Iterator[torch.Tensor]:
    whole = x.device.type != "cpu" or torch.compiler.is_exporting()  # a graph for any N has no number of pieces
    yield from [x] if whole else x.split(CACHE_FRIENDLY)


def _moments(values: torch.Tensor, pooling: str, over: int | tuple[int, ...]) -> torch.Tensor:
    """over: the dimensions of the places."""
    values = values.float()
    mean = values.mean(dim=over, keepdim=True)
    if pooling == "avg":
        return mean.flatten(1)
    variance = (values - mean).square_().mean(dim=over)  # (N, C)
    # The root of a map without any variance has no gradient; with the floor it is 0, and so is the deviation.
    deviation = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt() * (variance > 0)
    return torch.cat([mean.flatten(1), deviation], dim=1)
