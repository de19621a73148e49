"""An export as a page: opened from disk, it searches and plays its clips, and asks nobody for anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ut_clips_dagster import gallery
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.export.card import Facts
from ut_clips_dagster.export.copying import Copier
from ut_clips_dagster.export.croissant import CROISSANT, page_croissant

if TYPE_CHECKING:
    from ut_clips_dagster.export.selection import Clip
    from ut_clips_dagster.export.work import Work

MOST_CLIPS = 5_000
"""Their data is one script, which the browser reads before it shows anything."""
STATIC = Path(__file__).parent / "static"
STYLE = Path(gallery.__file__).parent / "static" / "style.css"
INDEX, DATA = "index.html", "page/data.js"
FILES = {INDEX: STATIC / "index.html", "page/page.js": STATIC / "page.js", "page/style.css": STYLE}


def write_page(work: Work) -> None:
    """Clips and posters first; the page that shows them when all are there.

    Raises:
        SettingsError: these are more clips than a page holds.
    """
    clips = work.selection.clips
    if len(clips) > MOST_CLIPS:
        raise SettingsError(
            f"{len(clips):,} clips are selected, and a page holds {MOST_CLIPS:,}: narrow it with --where."
        )
    ours = {*FILES, DATA, CROISSANT}
    wanted = {path for clip in clips for path in (clip.path, clip.poster_path) if path}
    work.retire(wanted | ours, before=(INDEX, DATA, CROISSANT))
    copier = Copier(work.carrier, work.target, link=work.order.link)
    copier.copy(clips)
    work.settle(copier)
    shown = [
        _shown(clip, row, clip in copier.without_poster) for clip, row in work.selection.rows(work.selection.clips)
    ]
    shown.sort(key=lambda each: (-(each["at_ms"] or 0), each["session_id"], each["time_start_ms"] or 0))
    facts = Facts.of(work.selection, work.order)
    data = f"const CLIPS = {json.dumps(shown)};\n".encode()  # ASCII: nothing in it ends a line, a text or a script
    work.target.write(DATA, data)
    for path, source in FILES.items():
        work.target.write(path, source.read_bytes())
    work.target.write(CROISSANT, page_croissant(facts, DATA, hashlib.sha256(data).hexdigest()))


def _shown(clip: Clip, row: Mapping[str, Any], without_poster: bool) -> dict[str, Any]:
    """What the page says of a clip."""
    at: datetime | None = row["session_finished_at"] or row["session_started_at"]
    sound = row["has_audio"] if row["has_audio_track"] is None else row["has_audio_track"]
    length = row["duration_s"]
    if length is None and None not in (row["time_start_ms"], row["time_end_ms"]):
        length = (row["time_end_ms"] - row["time_start_ms"]) / 1000
    return {
        "session_id": clip.session_id,
        "clip_uuid": clip.clip_uuid,
        "study_uuid": row["study_uuid"],
        "name": row["clip_name"],
        "description": row["clip_description"],
        "at_ms": int(at.timestamp() * 1000) if at else None,
        "time_start_ms": row["time_start_ms"],
        "duration_s": length,
        "sound": bool(sound),
        "path": clip.path,
        "poster": None if without_poster else clip.poster_path,
        "cues": row["cues"] or [],
    }
