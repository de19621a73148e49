"""Cuts a session's transcript to its clips: files beside the clips and rows of the table. Pure.

Derived from `transcript.vtt`, `clip_list.json` and `clip_files.json` alone, so that it can be made anew, and verified,
at any time.

The official document says that a clip's times count "from the session start", and does not say where a transcript's
clock starts: the same start is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ut_clips_dagster.archive.documents import SessionRecord, StoredClip
from ut_clips_dagster.transcripts.webvtt_text import Cue, Transcript, write_webvtt

Row = dict[str, Any]


def cut(transcript: Transcript, start_ms: int, end_ms: int) -> Transcript:
    """The part of a transcript that is said within a range, with times that count from its start.

    A cue is kept whole when any of it lies within: half a sentence would say what nobody said.
    """
    cues = tuple(
        replace(cue, start_ms=max(cue.start_ms, start_ms) - start_ms, end_ms=min(cue.end_ms, end_ms) - start_ms)
        for cue in transcript.cues
        if cue.start_ms < end_ms and cue.end_ms > start_ms and start_ms < end_ms
    )
    return replace(transcript, cues=cues, problem=None)


@dataclass(frozen=True)
class ClipTranscripts:
    """What is said in the clips of one session."""

    files: dict[str, bytes]
    """Content by path: one file beside each stored file of a clip, earlier cuts included."""
    rows: tuple[Row, ...]
    """One row per clip with a stored file, as `clip_metadata` names it, ordered by clip."""
    videos: int
    """Videos that the session's clips were cut from; above one nobody knows whose transcript it is."""


def clip_transcripts(record: SessionRecord, transcript: Transcript | None) -> ClipTranscripts:
    """Everything that a session's transcript makes; nothing where there is none, or none that can be read."""
    listing = record.clip_list
    clips = listing.clips if listing else ()
    videos = len({clip.video_uuid for clip in clips})
    if transcript is None or not transcript.is_readable:
        return ClipTranscripts({}, (), videos)
    cuts = {file.storage_path: _cut_to(transcript, file) for file in record.clip_files.files}
    files = {vtt_path(path): write_webvtt(part) for path, part in cuts.items()}
    rows = [
        clip_row(record.session_id, file.clip_uuid, cuts[file.storage_path])
        for file in (record.stored(clip) for clip in clips)
        if file
    ]
    return ClipTranscripts(files, tuple(sorted(rows, key=lambda row: str(row["clip_uuid"]))), videos)


def vtt_path(clip_path: str) -> str:
    """Where the transcript of a clip's file lies: beside it."""
    return f"{clip_path.removesuffix('.mp4')}.vtt"


def _cut_to(transcript: Transcript, file: StoredClip) -> Transcript:
    return cut(transcript, file.cut.time_start_ms, file.cut.time_end_ms)


def clip_row(session_id: str, clip_uuid: str, part: Transcript) -> Row:
    """The table's row of a clip, from its part of the transcript."""
    cues = part.cues
    text = " ".join(_spoken(cues))
    return {
        "session_id": session_id,
        "clip_uuid": clip_uuid,
        "text": text,
        "cues": [
            {"start_ms": cue.start_ms, "end_ms": cue.end_ms, "voice": cue.voice, "text": cue.text} for cue in cues
        ],
        "words": len(text.split()),
    }


def _spoken(cues: tuple[Cue, ...]) -> Iterator[str]:
    for cue in cues:
        if text := cue.text:
            yield f"{cue.voice}: {text}" if cue.voice else text
