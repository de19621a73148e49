"""The asset graph: what UserTesting has, and the four assets of the archive."""

from ut_clips_dagster.assets.clips import clip_assets
from ut_clips_dagster.assets.io_manager import ClipMetadataIOManager
from ut_clips_dagster.assets.specs import usertesting_sessions

__all__ = ["ClipMetadataIOManager", "clip_assets", "usertesting_sessions"]
