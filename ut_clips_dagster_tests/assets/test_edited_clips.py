"""Researchers add, rename, re-cut and delete clips long after a session: each ends in the right files and rows."""

from __future__ import annotations

import pytest

from ut_clips_dagster.simulator import Clip, Operation, media_file
from ut_clips_dagster_tests.platform import TestPlatform


@pytest.fixture
def archived(platform: TestPlatform) -> tuple[TestPlatform, Clip]:
    """A platform with one session archived, and a clip of it."""
    session = next(s for s in platform.sessions() if len(platform.simulator.world.clips(s)) >= 2)
    platform.add_partitions([session])
    assert platform.run(session).success
    platform.simulator.requests.clear()
    return platform, platform.simulator.world.clips(session)[0]


def row_of(platform: TestPlatform, clip: Clip) -> dict[str, object]:
    rows = platform.archive.table().read([clip.session_id]).set_index("clip_uuid")
    return dict(rows.loc[clip.clip_uuid])


def test_an_added_clip_is_stored_and_only_that_is_requested(archived: tuple[TestPlatform, Clip]) -> None:
    platform, clip = archived
    added = platform.simulator.world.add_clip(clip.session_id, name="Cut a week later")

    assert platform.run(clip.session_id).success

    assert row_of(platform, added)["status"] == "STORED"
    assert {e.clip_uuid for e in platform.simulator.requests.entries(Operation.GET_CLIP)} == {added.clip_uuid}
    platform.assert_files_are_right()


def test_a_renamed_clip_gets_its_new_name_without_a_request_of_the_clip(archived: tuple[TestPlatform, Clip]) -> None:
    platform, clip = archived
    before = row_of(platform, clip)
    platform.simulator.world.rename_clip(clip.session_id, clip.clip_uuid, "A better name", "and why")

    assert platform.run(clip.session_id).success

    after = row_of(platform, clip)
    assert (after["clip_name"], after["clip_description"]) == ("A better name", "and why")
    assert after["storage_path"] == before["storage_path"]
    assert after["first_listed_at"] == before["first_listed_at"]
    assert platform.simulator.requests.count(Operation.GET_CLIP) == 0


def test_a_clip_cut_anew_is_stored_beside_the_first_cut_which_stays(archived: tuple[TestPlatform, Clip]) -> None:
    platform, clip = archived
    before = row_of(platform, clip)
    first_bytes = (platform.root / str(before["storage_path"])).read_bytes()
    recut = platform.simulator.world.recut_clip(clip.session_id, clip.clip_uuid, 1_000, 9_500)

    assert platform.run(clip.session_id).success

    after = row_of(platform, clip)
    folder = str(before["storage_path"]).removesuffix(".mp4")
    assert after["storage_path"] == f"{folder}/1000-9500.mp4"
    assert (platform.root / str(before["storage_path"])).read_bytes() == first_bytes
    new_bytes = (platform.root / str(after["storage_path"])).read_bytes()
    assert new_bytes == media_file(platform.simulator.world.render(recut)).read() != first_bytes


def test_a_cut_that_comes_back_is_the_file_that_is_there(archived: tuple[TestPlatform, Clip]) -> None:
    platform, clip = archived
    before = row_of(platform, clip)
    world = platform.simulator.world
    world.recut_clip(clip.session_id, clip.clip_uuid, 1_000, 9_500)
    platform.run(clip.session_id)
    world.recut_clip(clip.session_id, clip.clip_uuid, clip.time_start_ms, clip.time_end_ms)
    platform.simulator.requests.clear()

    assert platform.run(clip.session_id).success

    assert row_of(platform, clip)["storage_path"] == before["storage_path"]
    assert platform.simulator.requests.count(Operation.GET_CLIP) == 0


def test_a_deleted_clip_keeps_its_file_and_its_row_and_is_no_longer_listed(
    archived: tuple[TestPlatform, Clip],
) -> None:
    platform, clip = archived
    before = row_of(platform, clip)
    platform.simulator.world.delete_clip(clip.session_id, clip.clip_uuid)

    assert platform.run(clip.session_id).success

    after = row_of(platform, clip)
    assert (before["listed"], after["listed"], after["status"]) == (True, False, "STORED")
    assert (platform.root / str(after["storage_path"])).is_file()
    assert after["listed_at"] == before["listed_at"]


def test_a_session_without_clips_is_complete_and_gets_its_first_clip_later(platform: TestPlatform) -> None:
    session = platform.simulator.world.add_session(clips=0).session_id
    platform.add_partitions([session])
    assert platform.run(session).success
    assert platform.materialized("clip_files") == {session}
    clip = platform.simulator.world.add_clip(session)

    assert platform.run(session).success

    assert row_of(platform, clip)["status"] == "STORED"
