"""Which sample goes into which shard. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ut_clips_dagster.export.selection import Clip

_NAME = "clips-{:06d}.tar"


@dataclass(frozen=True)
class Sample:
    """A clip as a shard holds it."""

    clip: Clip
    key: str
    """Without a dot: what follows the first one is the kind of file."""
    content: str
    """What it holds, in a word."""


@dataclass(frozen=True)
class Shard:
    """A tar file to be, or one that is there and stays."""

    path: str
    samples: tuple[Sample, ...]
    kept: bool


def plan(samples: Sequence[Sample], present: Mapping[str, Sequence[tuple[str, str]]], shard_bytes: int) -> list[Shard]:
    """All shards of an export, numbered without a gap.

    A shard that is there stays if all that it holds is still wanted as it is; so an export of a growing archive writes
    what is new, and not everything behind it. What is left is packed in its order.

    Args:
        samples: what is wanted.
        present: path and members (key, content) of the shards that are there.
        shard_bytes: a shard is closed when its clips reach that size.
    """
    wanted = {(sample.key, sample.content): sample for sample in samples}
    kept: dict[int, list[Sample]] = {}
    for path, members in present.items():
        if all(member in wanted for member in members):
            kept[_number(path)] = [wanted.pop(member) for member in members]
    while True:
        order = {sample.key: at for at, sample in enumerate(samples)}
        packs = _packs(sorted(wanted.values(), key=lambda sample: order[sample.key]), shard_bytes)
        count = len(kept) + len(packs)
        if not kept or max(kept) < count:
            break
        wanted |= {(sample.key, sample.content): sample for sample in kept.pop(max(kept))}  # it moves into a gap
    free = [number for number in range(count) if number not in kept]
    new = dict(zip(free, packs, strict=True))
    return [Shard(_NAME.format(n), tuple((kept | new)[n]), n in kept) for n in range(count)]


def _packs(samples: Sequence[Sample], shard_bytes: int) -> list[list[Sample]]:
    packs: list[list[Sample]] = []
    size = shard_bytes
    for sample in samples:
        if size >= shard_bytes:
            packs.append([])
            size = 0
        packs[-1].append(sample)
        size += sample.clip.size_bytes
    return packs


def _number(path: str) -> int:
    return int(path.removeprefix("clips-").removesuffix(".tar"))
