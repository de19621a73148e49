"""What strangers named a clip is shown in the UI as it is: never as markdown, never long, never many rows."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from dagster import AssetCheckEvaluation, MarkdownMetadataValue, TableMetadataValue
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ut_clips_dagster.archive.documents import ClipListDocument, SessionRecord, merge_listing
from ut_clips_dagster.archive.session_work import SessionResult
from ut_clips_dagster.assets.event_metadata import MAX_CELL, MAX_NAME, MAX_TABLE_ROWS, event_metadata, table, unmarked
from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.definitions import follow_ons
from ut_clips_dagster.plain_text import one_line, visible
from ut_clips_dagster.results_api.models import Clip
from ut_clips_dagster_tests.platform import ASSETS, TestPlatform

ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
PICTURE = "![x](http://127.0.0.1:9/p.png)"
NAMES = [
    PICTURE,
    "<img src=http://127.0.0.1:9/i.png>",
    "a | b\n\n" + PICTURE,
    "[a](javascript:x)",
    "\x1b[31m\u202e",
    "n" * 9000,
]
VOICES = ["v" * 9000, "\u202e\u2066Ann"]
HOSTILE = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("![]()<>`\\|*_\n\x1b\u202e&#:/h"))
)


def result(clips: list[tuple[str, str | None]], error: str | None = None) -> SessionResult:
    listed = tuple(
        Clip(
            uuid=f"00000000-0000-4000-8000-{number:012}",
            name=name,
            description=description,
            time_start_ms=0,
            time_end_ms=1000,
            video_uuid=ID,
            has_audio=True,
            has_camera=False,
        )
        for number, (name, description) in enumerate(clips)
    )
    listing = merge_listing(None, ID, ID, listed, AT, has_video=True)
    assert isinstance(listing, ClipListDocument)
    record = SessionRecord.empty(ID).model_copy(update={"clip_list": listing})
    return SessionResult(ID, record, len(clips), error)


@settings(max_examples=50)
@given(st.lists(st.tuples(HOSTILE, st.none() | HOSTILE), max_size=4))
def test_no_text_of_a_clip_is_ever_markdown_and_all_of_it_can_be_kept(clips: list[tuple[str, str | None]]) -> None:
    for metadata in event_metadata(result(clips), "/archive").values():
        values = list(metadata.values())
        assert not [value for value in values if isinstance(value, MarkdownMetadataValue)]
        for shown in (value for value in values if isinstance(value, TableMetadataValue)):
            cells = [str(cell) for record in shown.records for cell in record.data.values()]
            assert all(len(cell) <= MAX_CELL and "\n" not in cell and "\x1b" not in cell for cell in cells)
            assert json.dumps(cells).isascii()


def test_rows_are_bounded_and_the_rest_is_counted() -> None:
    metadata = event_metadata(result([(f"clip {n}", None) for n in range(MAX_TABLE_ROWS + 7)]), "/archive")["clip_list"]
    records = [dict(record.data) for record in metadata["clip_table"].records]
    assert len(records) == MAX_TABLE_ROWS + 1
    assert records[0] == {"clip": "clip 0", "description": "", "time": "0:00-0:01", "audio": "yes", "camera": "no"}
    assert records[-1] == {"clip": "… and 7 more", "description": "", "time": "", "audio": "", "camera": ""}
    assert table(("one",), []).records == []


@given(HOSTILE)
def test_a_checks_description_holds_no_picture_link_or_html(text: str) -> None:
    """The one text that the UI reads as markdown and that can be given as nothing else."""
    parsed = MarkdownIt("commonmark").parse(f"Session x: {unmarked(' '.join(text.split()))}")
    kinds = {child.type for token in parsed for child in (token.children or [])} | {token.type for token in parsed}
    assert not kinds & {"image", "link_open", "html_inline", "html_block", "code_inline"}


def test_every_event_of_a_run_over_hostile_names_is_plain(platform: TestPlatform) -> None:
    world = platform.simulator.world
    well, bad = world.add_session(clips=0).session_id, world.add_session(clips=0).session_id
    for session_id in (well, bad):
        for name in NAMES:
            world.add_clip(session_id, name=name, description=name)
    platform.simulator.faults.add(f"picture_as_video:clip_uuid={world.clips(bad)[0].clip_uuid}")
    voices = "".join(f"00:0{n}.000 --> 00:0{n}.900\n<v {voice}>yes\n\n" for n, voice in enumerate(VOICES))
    world.set_transcript(well, f"WEBVTT\n\n{voices}".encode())
    keys = platform.add_partitions([well, bad, PICTURE])

    run = platform.run(keys[0], keys[-1])

    made = [
        platform.definitions.resolve_job_def(follow_on.job_name).execute_in_process(
            instance=platform.instance, partition_key=well, run_config=QUIET
        )
        for follow_on in follow_ons(platform.settings)
    ]
    told = [value for one in (run, *made) for event in one.all_events for value in metadata_of(event).items()]
    cells = [str(cell) for _, value in told for cell in cells_of(value)]
    assert [cell for cell in cells if len(cell) > MAX_CELL or visible(cell, keep="") != cell] == []
    assert {one_line(name, MAX_NAME) for name in NAMES} <= set(cells)
    assert {one_line(voice, MAX_NAME) for voice in VOICES} <= set(cells)

    shown = [value for event in run.all_events for value in metadata_of(event).items()]
    assert len(shown) > 30
    assert not [name for name, value in shown if isinstance(value, MarkdownMetadataValue)]
    tables = {name: value for name, value in shown if isinstance(value, TableMetadataValue)}
    assert {"clip_table", "generation_table", "preview", "unfinished", "unfinished_sessions"} <= tables.keys()
    names = [str(record.data["clip_name"]) for record in tables["preview"].records]
    assert PICTURE in names  # exactly as the researcher typed it
    why = "\n".join(str(record.data["why"]) for record in tables["unfinished"].records)
    assert "sent a PNG picture instead of a video" in why
    assert [str(record.data["session"]) for record in tables["unfinished_sessions"].records] == [PICTURE, bad]
    for asset in ASSETS[1:3]:
        assert platform.materialized(asset) == {well}


def test_names_stay_exact_in_the_table(platform: TestPlatform) -> None:
    session_id = platform.simulator.world.add_session(clips=0).session_id
    for name in NAMES:
        platform.simulator.world.add_clip(session_id, name=name, description=name)
    platform.add_partitions([session_id])
    assert platform.run(session_id).success
    assert sorted(platform.archive.table().read([session_id])["clip_name"]) == sorted(NAMES)


def cells_of(value: object) -> list[object]:
    """All cells of a table."""
    records = value.records if isinstance(value, TableMetadataValue) else []
    return [cell for record in records for cell in record.data.values()]


def metadata_of(event: Any) -> dict[str, Any]:
    """The metadata of any kind of event that shows some."""
    data = event.event_specific_data
    for name in ("materialization", "asset_observation", "user_failure_data", "asset_check_evaluation"):
        if found := getattr(data, name, None):
            return dict(found.metadata)
    return dict(data.metadata) if isinstance(data, AssetCheckEvaluation) else {}
