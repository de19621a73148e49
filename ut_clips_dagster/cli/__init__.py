"""The `ut-clips` command."""

from ut_clips_dagster.cli.main import app

__all__ = ["app"]
