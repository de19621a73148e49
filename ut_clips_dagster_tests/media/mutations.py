# ruff: noqa: T201  # a command
"""Damaged and hostile media files, looked at by the worker as clips are: nothing but facts may come of it.

python -m ut_clips_dagster_tests.media.mutations [NUMBER]
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster_tests.media.files import KINDS, media

Mutation = Callable[[random.Random, bytearray], None]


@dataclass
class Outcome:
    """What looking at many mutated files gave."""

    files: int = 0
    whole: int = 0
    """Facts and a poster, all the same."""
    failures: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    slowest_s: float = 0.0
    seconds: float = 0.0
    worker_peak_mib: float = 0.0


def flip_bytes(dice: random.Random, data: bytearray) -> None:
    for _ in range(dice.choice((1, 4, 32, 256))):
        data[dice.randrange(len(data))] = dice.randrange(256)


def flip_head(dice: random.Random, data: bytearray) -> None:
    """In the index, or in the heads of the first boxes, where a byte matters most."""
    for _ in range(dice.choice((1, 2, 8))):
        data[dice.randrange(min(len(data), 2048))] = dice.randrange(256)


def cut_off(dice: random.Random, data: bytearray) -> None:
    del data[dice.randrange(1, len(data)) :]


def cut_out(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.choice((1, 4, 100, 4000))]


def big_number(dice: random.Random, data: bytearray) -> None:
    """A size, a count or an offset that is as large as it can be."""
    at = dice.randrange(len(data) - 8)
    data[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"\0\0\0\1"))


def box_number(dice: random.Random, data: bytearray) -> None:
    """The same right behind the name of a box of the index, where its sizes and counts are."""
    names = (b"stsd", b"stts", b"stsc", b"stsz", b"stco", b"ctts", b"trun", b"tfhd", b"mvhd", b"tkhd", b"mdhd", b"avcC")
    places = [at for name in names if (at := bytes(data).find(name)) >= 0]
    if not places:
        big_number(dice, data)
        return
    at = dice.choice(places) + dice.choice((-4, 4, 8, 12, 16))
    data[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\xff\xff\xff", b"\0\0\0\0"))


def other_name(dice: random.Random, data: bytearray) -> None:
    """A box or a codec by a name that nothing knows, or by another's."""
    names = (
        b"avc1",
        b"hvc1",
        b"hev1",
        b"av01",
        b"mp4a",
        b"moov",
        b"trak",
        b"mdia",
        b"stbl",
        b"vide",
        b"V_VP8",
        b"Opus",
    )
    places = [at for name in names if (at := bytes(data).find(name)) >= 0]
    at = dice.choice(places) if places else dice.randrange(len(data) - 8)
    data[at : at + 4] = dice.choice((b"zzzz", b"\0\0\0\0", *names[:6]))


def doubled(dice: random.Random, data: bytearray) -> None:
    start, length = dice.randrange(len(data)), dice.randrange(1, 4000)
    at = dice.randrange(len(data))
    data[at:at] = data[start : start + length]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bytes, flip_head, cut_off, cut_out, big_number, box_number, other_name, doubled,
)  # fmt: skip


def mutated(seed: int) -> bytes:
    """The mutated file of this number: kinds take turns, and up to three mutations hit each."""
    dice = random.Random(seed)
    data = bytearray(media(list(KINDS)[seed % len(KINDS)]))
    for _ in range(dice.randint(1, 3)):
        if len(data) > 64:
            dice.choice(MUTATIONS)(dice, data)
    return bytes(data)


def run(number: int, first: int = 0) -> Outcome:
    """Look at so many."""
    outcome = Outcome()
    begun = time.monotonic()
    with Prober() as prober:
        for seed in range(first, first + number):
            data = mutated(seed)
            at = time.monotonic()
            looked = prober.look(len(data), lambda start, length, data=data: data[start : start + length])
            outcome.slowest_s = max(outcome.slowest_s, time.monotonic() - at)
            outcome.worker_peak_mib = max(outcome.worker_peak_mib, _peak_mib(prober))
            outcome.files += 1
            outcome.whole += looked.poster is not None and looked.facts.failure is None
            if looked.facts.failure:
                outcome.failures[looked.facts.failure] += 1
        outcome.deaths = prober.deaths
    outcome.seconds = time.monotonic() - begun
    return outcome


def _peak_mib(prober: Prober) -> float:
    """Of the worker; `getrusage` of children would begin with what this process has."""
    status = Path("/proc", str(prober._started().process.pid), "status")
    lines = status.read_text().splitlines() if status.exists() else []
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0.0)


def main() -> None:
    outcome = run(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    print(f"{outcome.files:,} mutated files in {outcome.seconds:.0f} s, the slowest in {outcome.slowest_s:.2f} s")
    print(f"  the worker died {outcome.deaths} times; its peak memory was {outcome.worker_peak_mib:.0f} MiB")
    print(f"  {outcome.whole:,} gave facts and a poster all the same; of the others it is said that the file")
    for failure, count in outcome.failures.most_common():
        print(f"  {count:>7,} {failure}")


if __name__ == "__main__":
    main()
