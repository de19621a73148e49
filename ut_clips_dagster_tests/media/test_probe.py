"""Facts and posters of real files, of every kind, through the real worker."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ut_clips_dagster.media.facts import Facts, Looked, problem_of
from ut_clips_dagster.media.poster import MAX_BYTES
from ut_clips_dagster.media.prober import Prober
from ut_clips_dagster.simulator import Render, media_file
from ut_clips_dagster.simulator.world.flaws import Flaw
from ut_clips_dagster_tests.media.files import HEIGHT, KINDS, SECONDS, WIDTH, media
from ut_clips_dagster_tests.media.mutations import run

ID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    with Prober() as prober:
        yield prober


def look(prober: Prober, data: bytes) -> Looked:
    return prober.look(len(data), lambda start, length: data[start : start + length])


def picture(poster: bytes | None) -> Any:
    assert poster
    with av.open(io.BytesIO(poster), format="jpeg_pipe") as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_facts_and_a_poster(prober: Prober, kind: str) -> None:
    looked = look(prober, media(kind))
    facts = looked.facts
    assert facts.failure is None
    assert facts.duration_s == pytest.approx(SECONDS, abs=0.1)
    assert (facts.width, facts.height) == (WIDTH, HEIGHT)
    assert facts.frame_rate == pytest.approx(10, abs=0.2)
    assert facts.video_codec == {"fragmented": "h264"}.get(kind, kind)
    assert (facts.has_audio_track, facts.audio_codec) == (True, "opus" if kind == "vp8" else "aac")
    assert picture(looked.poster).width == 320


def test_a_file_without_sound_says_so(prober: Prober) -> None:
    facts = look(prober, media("h264", audio=False)).facts
    assert (facts.has_audio_track, facts.audio_codec) == (False, None)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1280, 720), (320, 180)), ((1080, 1920), (320, 568)), ((180, 640), (180, 640)), ((64, 640), (64, 640))],
)
def test_a_poster_is_320_wide_and_at_most_640_high(
    prober: Prober, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    poster = picture(look(prober, media("h264", audio=False, size=size)).poster)
    assert (poster.width, poster.height) == expected


def test_the_first_telling_picture_is_taken_and_a_blank_clip_has_one_too(prober: Prober) -> None:
    telling = picture(look(prober, media("h264")).poster).to_ndarray(format="gray")
    assert telling.std() > 20
    blank = picture(look(prober, media("h264", flat=True)).poster).to_ndarray(format="gray")
    assert blank.std() < 3


def noise(width: int, height: int, pictures: int) -> bytes:
    dice = np.random.default_rng(0)
    target = io.BytesIO()
    options = {"preset": "ultrafast", "crf": "18", "threads": "1"}
    with av.open(target, "w", format="mp4") as container:  # the index at the end
        video: Any = container.add_stream("libx264", rate=5, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.gop_size = 5
        for _ in range(pictures):
            rgb = dice.integers(0, 255, (height, width, 3), dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(video.encode(None))
    return target.getvalue()


def test_a_poster_of_noise_is_small_all_the_same_and_the_file_is_not_read_whole(prober: Prober) -> None:
    data, read = noise(640, 360, 60), []

    def read_range(start: int, length: int) -> bytes:
        read.append(length)
        return data[start : start + length]

    looked = prober.look(len(data), read_range)
    assert looked.poster
    assert len(looked.poster) <= MAX_BYTES
    assert sum(read) < len(data) / 4
    assert len(read) < 40


@pytest.mark.parametrize(
    ("flaw", "failure"),
    [
        (Flaw.NO_VIDEO, "holds no video"),
        (Flaw.WRONG_LENGTH, None),
        (Flaw.WRONG_SOUND, None),
        (Flaw.BROKEN_INDEX, "does not open (Invalid data found when processing input)"),
        (Flaw.UNKNOWN_CODEC, "holds a video of a kind that cannot be decoded"),
        (Flaw.HUGE_PICTURE, "declares a picture of 8192 x 4352, above 7680 x 4320: it was not decoded"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_words(prober: Prober, flaw: Flaw, failure: str | None) -> None:
    looked = look(prober, media_file(Render(ID, ID, "0-30000", None), flaw).read())
    assert looked.facts.failure == failure
    assert (looked.poster is None) == (failure is not None)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 100, b"<html>not a clip</html>" * 50, b"RIFF" + b"\xff" * 60, media("h264")[:300]],
    ids=["empty", "zeros", "html", "riff", "head alone"],
)
def test_what_is_no_media_file_does_not_open(prober: Prober, data: bytes) -> None:
    assert (look(prober, data).facts.failure or "").startswith("does not open")


def test_a_playlist_or_a_reference_opens_no_other_file(prober: Prober, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(media("h264"))
    playlists = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
    )
    for playlist in playlists:
        looked = look(prober, playlist.encode())
        assert (looked.facts.failure or "").startswith("does not open")
        assert looked.poster is None


@pytest.mark.parametrize(
    ("duration_s", "range_s", "told"),
    [(30.0, 30.0, False), (32.0, 30.0, False), (32.1, 30.0, True), (27.9, 30.0, True), (104.9, 100.0, False),
     (105.1, 100.0, True), (1.0, 2.9, False), (None, 30.0, False)],
)  # fmt: skip
def test_a_length_is_off_by_more_than_two_seconds_and_five_percent(
    duration_s: float | None, range_s: float, told: bool
) -> None:
    problem = problem_of(Facts(duration_s=duration_s, has_audio_track=True), range_s, has_audio=True)
    assert (problem is not None) == told
    if told:
        assert problem == f"The file is {duration_s:.1f} s long, but the clip's range is {range_s:.1f} s."


def test_sound_that_contradicts_the_listing_is_told_and_problems_add_up() -> None:
    silent, loud = Facts(duration_s=30, has_audio_track=False), Facts(duration_s=10, has_audio_track=True, failure="x")
    assert problem_of(silent, 30, has_audio=True) == "The file has no sound, though the clip is listed with sound."
    assert problem_of(silent, 30, has_audio=False) is None
    assert problem_of(loud, 30, has_audio=False) == (
        "The file x; it is 10.0 s long, but the clip's range is 30.0 s; it has sound, though the clip is listed "
        "without sound."
    )
    assert problem_of(Facts(failure="x"), 30, has_audio=True) == "The file x."


def test_mutated_files_crash_nothing() -> None:
    """The long form: `python -m ut_clips_dagster_tests.media.mutations 10000`."""
    outcome = run(200)
    assert outcome.files == 200
    assert outcome.whole + outcome.failures.total() == 200
    assert 0 < outcome.whole < 200
    assert outcome.slowest_s < 20
    assert outcome.worker_peak_mib < 512
