"""What lies beside the clips, for the commands that check and mend the archive."""

from __future__ import annotations

from ut_clips_dagster.archive.companions import Companion
from ut_clips_dagster.media.companion import MediaCompanion
from ut_clips_dagster.resources import ArchiveResource
from ut_clips_dagster.transcripts import companions as transcripts


def companions(archive: ArchiveResource) -> list[Companion]:
    """Each kind of it."""
    return [MediaCompanion(archive.store(), archive.media_table()), *transcripts.companions(archive.store())]
