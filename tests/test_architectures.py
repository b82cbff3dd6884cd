"""What the table of architectures says, for a few of them; `python -m tests.bench.architectures` makes the table."""

import pytest

from extract.networks.entries import REGISTRY
from tests.bench.architectures import OTHERS, STEPS, TARGET, tried


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("convnext_atto", ["yes"] * 3),
        ("mixer_s32_224", ["yes"] * 3),
        ("crossvit_9_240", ["blocks.0 of crossvit_9_240 gives no single tensor"]),
    ],
)
def test_an_architecture_does_what_the_table_says(name, said, few):
    found = tried(name, few, steps=STEPS[:3]).said
    assert len(found) == len(said)
    assert all(each.startswith(words) for each, words in zip(found.values(), said, strict=True)), found


def test_the_table_has_a_row_for_each_that_was_run():
    rows = [line.split("`")[1] for line in TARGET.read_text().splitlines() if line.startswith("| `")]
    assert rows == [name for name in [*REGISTRY, *OTHERS] if name in rows]
    assert len(rows) > 50
