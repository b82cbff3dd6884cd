"""`make pack`: a finished run as one file; of an extraction with its features, so that nobody computes them again.

python -m analysis.house.pack --run=name --out=file

`cache.packing.unpack` puts it back, here or on another machine.
"""

from pathlib import Path

from analysis.house.inventory import find_any, in_words
from analysis.house.options import PackConfig
from cache import runs
from cache.command import main
from cache.key import file_digest
from cache.packing import pack
from cache.table import verify
from extract.extraction import ExtractResult

ENDING = ".tar"
STAGE = "extract"


def run(config: PackConfig) -> Path:
    """The file. Raises: UserError as `cache.packing.pack`; no such run; a damaged shard."""
    folder = find_any(config.run)
    out = packed(folder, Path(config.out or f"{folder.name}{ENDING}").expanduser())
    print(f"pack {folder.name}: {in_words(out.stat().st_size)}, sha256 {file_digest(out)} -> {out}")
    return out


def packed(folder: Path, out: Path) -> Path:
    """Write a run, with the features that it names if it is an extraction, whose rows are checked first."""
    features = _features(folder) if folder.resolve().parent.name == STAGE else ()
    for each in features:
        for shard in sorted(each.glob("[!.]*.h5")):
            verify(shard)
    return pack(folder, out, features=features)


def _features(folder: Path) -> tuple[Path, ...]:
    if not runs.is_complete(folder):
        return ()
    return tuple(dict.fromkeys(spec.folder for spec in runs.result(folder).into(ExtractResult).specs))


if __name__ == "__main__":
    main(PackConfig, "analysis.house.pack:run", command="python -m analysis.house.pack")
