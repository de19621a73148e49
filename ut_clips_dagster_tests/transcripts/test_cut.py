"""A transcript cut to clips, cue by cue, against the plainest possible reference."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ut_clips_dagster.archive.documents import (
    ClipFilesDocument,
    ClipListDocument,
    Cut,
    ListedClip,
    SessionRecord,
    StoredClip,
)
from ut_clips_dagster.transcripts.cut import clip_row, clip_transcripts, cut
from ut_clips_dagster.transcripts.webvtt_text import Cue, Transcript, read_transcript, write_webvtt

AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
SESSION = "00000000-0000-4000-8000-000000000001"
STUDY = "00000000-0000-4000-8000-000000000002"
CLIP = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"

EXAMPLE = Transcript(
    tuple(Cue(start, end, (f"{start}",)) for start, end in [(0, 2000), (2000, 5500), (5500, 9000), (9000, 33000)])
)


def spans(transcript: Transcript) -> list[tuple[int, int, str]]:
    return [(cue.start_ms, cue.end_ms, cue.lines[0]) for cue in transcript.cues]


def test_clip_from_2_to_9_seconds_leaves_out_what_only_touches_it() -> None:
    assert spans(cut(EXAMPLE, 2000, 9000)) == [(0, 3500, "2000"), (3500, 7000, "5500")]


def test_clip_that_begins_within_a_cue_keeps_its_whole_text_from_the_start_on() -> None:
    assert spans(cut(EXAMPLE, 3708, 33708)) == [(0, 1792, "2000"), (1792, 5292, "5500"), (5292, 29292, "9000")]


@pytest.mark.parametrize("span", [(100, 100), (200, 100), (33000, 40000)])
def test_range_that_holds_nothing_gives_nothing(span: tuple[int, int]) -> None:
    assert cut(EXAMPLE, *span).cues == ()


times = st.integers(0, 40)
"""Few values, so that boundaries meet often."""
words = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<>&\u2028\u2029"), min_size=1, max_size=8
)
cues = st.builds(
    Cue,
    times,
    times,
    st.lists(words, min_size=0, max_size=2).map(tuple),
    st.sampled_from(["", "7", "intro"]),
    st.sampled_from(["", "align:start", "line:0 position:10%"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(cues, max_size=8), times, times)
def test_each_cue_is_kept_moved_or_left_out_as_its_milliseconds_say(
    given_cues: list[Cue], start: int, end: int
) -> None:
    """The reference walks over every millisecond: what of a cue's is in the clip's stays, counted from its start."""
    written = write_webvtt(Transcript(tuple(given_cues)))
    session = read_transcript(written)
    assert session.problem is None

    part = read_transcript(write_webvtt(cut(session, start, end)))

    expected = []
    for cue in given_cues:
        inside = [ms for ms in range(cue.start_ms, cue.end_ms) if start <= ms < end]
        if inside:
            expected.append(Cue(inside[0] - start, inside[-1] + 1 - start, cue.lines, cue.identifier, cue.settings))
    assert list(part.cues) == expected


def listed(clip_uuid: str, start: int, end: int, *, is_listed: bool = True, video: str = STUDY) -> ListedClip:
    span = Cut(time_start_ms=start, time_end_ms=end)
    return ListedClip(
        clip_uuid=clip_uuid, name="n", description=None, cut=span, video_uuid=video,
        has_audio=True, has_camera=True, listed=is_listed, first_listed_at=AT, listed_at=AT,
    )  # fmt: skip


def stored(clip_uuid: str, start: int, end: int, path: str) -> StoredClip:
    return StoredClip(
        clip_uuid=clip_uuid, cut=Cut(time_start_ms=start, time_end_ms=end), storage_path=path, size_bytes=1,
        crc32c="AAAAAA==", content_type="video/mp4", downloaded_at=AT,
    )  # fmt: skip


def record(clips: list[ListedClip], files: list[StoredClip]) -> SessionRecord:
    return SessionRecord.empty(SESSION).model_copy(
        update={
            "clip_list": ClipListDocument(
                session_id=SESSION, study_uuid=STUDY, first_listed_at=AT, listed_at=AT, clips=tuple(clips)
            ),
            "clip_files": ClipFilesDocument(session_id=SESSION, files=tuple(files)),
        }
    )


def test_every_stored_cut_has_a_file_beside_it_and_the_row_is_about_the_present_one() -> None:
    again = f"c/{CLIP}/5500-9000.mp4"
    made = clip_transcripts(
        record(
            [listed(CLIP, 5500, 9000), listed(OTHER, 0, 2000, is_listed=False)],
            [
                stored(CLIP, 0, 2000, f"c/{CLIP}.mp4"),
                stored(CLIP, 5500, 9000, again),
                stored(OTHER, 0, 2000, f"c/{OTHER}.mp4"),
            ],
        ),
        EXAMPLE,
    )
    assert set(made.files) == {f"c/{CLIP}.vtt", f"c/{CLIP}/5500-9000.vtt", f"c/{OTHER}.vtt"}
    assert made.files[f"c/{CLIP}/5500-9000.vtt"] == b"WEBVTT\n\n00:00:00.000 --> 00:00:03.500\n5500\n"
    assert [(row["clip_uuid"], row["text"]) for row in made.rows] == [(CLIP, "5500"), (OTHER, "0")]
    assert made.videos == 1


def test_clip_that_is_not_stored_has_neither_file_nor_row() -> None:
    made = clip_transcripts(record([listed(CLIP, 0, 2000)], []), EXAMPLE)
    assert (made.files, made.rows) == ({}, ())


def test_transcript_that_cannot_be_read_makes_no_row_that_says_that_nothing_was_said() -> None:
    files = [stored(CLIP, 0, 2000, "c/x.mp4")]
    lost = read_transcript(b"WEBVTT\n\n00:00:01,000 --> 00:00:02,000\nlost\n")
    assert clip_transcripts(record([listed(CLIP, 0, 2000)], files), lost).rows == ()
    silent = clip_transcripts(record([listed(CLIP, 0, 2000)], files), read_transcript(b"WEBVTT\n"))
    assert silent.rows == ({"session_id": SESSION, "clip_uuid": CLIP, "text": "", "cues": [], "words": 0},)
    assert silent.files == {"c/x.vtt": b"WEBVTT\n"}


def test_clips_of_several_videos_are_all_cut_and_counted() -> None:
    clips = [listed(CLIP, 0, 2000), listed(OTHER, 0, 2000, video=OTHER)]
    made = clip_transcripts(record(clips, [stored(c.clip_uuid, 0, 2000, f"{c.clip_uuid}.mp4") for c in clips]), EXAMPLE)
    assert (made.videos, len(made.rows)) == (2, 2)


def test_row_names_the_voice_before_what_it_says_and_counts_words() -> None:
    said = read_transcript(
        b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Fish &amp;\n chips\n\n00:02.000 --> 00:03.000\nthanks\n"
    )
    assert clip_row(SESSION, CLIP, said) == {
        "session_id": SESSION,
        "clip_uuid": CLIP,
        "text": "Ann: Fish & chips thanks",
        "cues": [
            {"start_ms": 1000, "end_ms": 2000, "voice": "Ann", "text": "Fish & chips"},
            {"start_ms": 2000, "end_ms": 3000, "voice": None, "text": "thanks"},
        ],
        "words": 5,
    }
