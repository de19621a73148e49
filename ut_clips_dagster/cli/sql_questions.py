"""Questions that are asked again and again, by name: `ut-clips sql late`."""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """A query, and what it answers."""

    asks: str
    sql: str


QUESTIONS: dict[str, Question] = {
    "late": Question(
        "clips that were cut more than a day after their session",
        "SELECT session_id, clip_name, session_finished_at, first_listed_at, "
        "first_listed_at - session_finished_at AS after, status FROM clips "
        "WHERE first_listed_at > session_finished_at + INTERVAL 1 DAY ORDER BY first_listed_at DESC",
    ),
    "waiting": Question(
        "clips that UserTesting was still generating when they were last asked for",
        "SELECT session_id, clip_uuid, clip_name, waited_s, generation_attempts, listed_at FROM clips "
        "WHERE listed AND status = 'GENERATING' ORDER BY waited_s DESC",
    ),
    "not_stored": Question(
        "listed clips that are not stored, and why",
        "SELECT session_id, clip_uuid, clip_name, status, error, listed_at FROM clips "
        "WHERE listed AND status <> 'STORED' ORDER BY status, session_id, clip_uuid",
    ),
    "deleted": Question(
        "clips that were deleted at UserTesting since; their files stay",
        "SELECT session_id, clip_uuid, clip_name, listed_at AS last_listed_at, storage_path FROM clips "
        "WHERE NOT listed ORDER BY listed_at DESC",
    ),
    "problems": Question(
        "stored clips whose file is not as it should be, in words",
        "SELECT session_id, clip_uuid, clip_name, problem, storage_path FROM clips WHERE problem IS NOT NULL "
        "ORDER BY session_id, clip_uuid",
    ),
    "studies": Question(
        "sessions, clips, bytes and minutes of each study",
        "SELECT study_uuid, count(DISTINCT session_id) AS sessions, count(*) FILTER (WHERE listed) AS clips, "
        "count(*) FILTER (WHERE status = 'STORED') AS stored, sum(size_bytes) AS bytes, "
        "round(sum(time_end_ms - time_start_ms) FILTER (WHERE status = 'STORED') / 60000, 1) AS minutes, "
        "sum(words) AS words FROM clips GROUP BY study_uuid ORDER BY clips DESC, study_uuid",
    ),
    "days": Question(
        "clips and bytes stored on each day, and how long generation took",
        "SELECT CAST(downloaded_at AS DATE) AS day, count(*) AS clips, sum(size_bytes) AS bytes, "
        "round(median(waited_s), 1) AS median_wait_s, max(waited_s) AS longest_wait_s FROM clips "
        "WHERE downloaded_at IS NOT NULL GROUP BY day ORDER BY day DESC",
    ),
    "largest": Question(
        "the twenty largest files",
        "SELECT clip_name, size_bytes, width, height, duration_s, storage_path FROM clips WHERE size_bytes IS NOT NULL "
        "ORDER BY size_bytes DESC, storage_path LIMIT 20",
    ),
    "silent": Question(
        "stored clips in which nothing is said, as far as their transcript tells",
        "SELECT session_id, clip_uuid, clip_name, has_audio, storage_path FROM clips WHERE words = 0 "
        "ORDER BY session_id, clip_uuid",
    ),
    "without_transcript": Question(
        "sessions with stored clips and no transcript, and when it is asked for again",
        "SELECT c.session_id, count(*) AS clips, coalesce(any_value(s.status), 'not asked for yet') AS transcript, "
        "any_value(s.fetched_at) AS asked_at, any_value(s.ask_again_at) AS ask_again_at FROM clip_metadata AS c "
        "LEFT JOIN session_transcripts AS s ON s.session_id = c.session_id WHERE c.status = 'STORED' "
        "AND (s.status IS NULL OR s.status <> 'STORED') GROUP BY c.session_id ORDER BY c.session_id",
    ),
    "unreadable_transcripts": Question(
        "transcripts of which some or all cannot be read, in words",
        "SELECT session_id, cues, problem, fetched_at FROM session_transcripts WHERE problem IS NOT NULL "
        "ORDER BY session_id",
    ),
}
