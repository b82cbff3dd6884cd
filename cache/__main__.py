"""`make verify`: read every row of every shard against its checksum.

python -m cache
"""

from dataclasses import dataclass

from cache.command import main
from cache.options import Options


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(Options):
    """Check every shard of the feature cache, byte by byte."""


if __name__ == "__main__":
    main(VerifyConfig, "cache.verify:run", command="python -m cache")
