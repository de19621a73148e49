"""Downstream assets load the clip metadata as a DataFrame."""

import pandas as pd
from dagster import ConfigurableIOManager, InputContext, OutputContext, ResourceDependency

from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.resources import ArchiveResource

FILTERED_KEYS = 1000
"""Above this many partitions the whole table is read and filtered in memory: quicker than so long a condition."""


class ClipMetadataIOManager(ConfigurableIOManager):
    """Loads the rows of one partition, many or all as one DataFrame; writing is the archive's business."""

    archive: ResourceDependency[ArchiveResource]

    def load_input(self, context: InputContext) -> pd.DataFrame:
        """The rows of the partitions that the input maps to."""
        table = self.archive.table()
        if not context.has_asset_partitions:
            return table.read()
        keys = list(context.asset_partition_keys)
        if len(keys) <= FILTERED_KEYS:
            return table.read(keys)
        rows = table.read()
        return rows[rows["session_id"].isin(keys)].reset_index(drop=True)

    def handle_output(self, context: OutputContext, obj: object) -> None:
        """Accept the empty outputs of a batch run, and nothing else."""
        if obj is not None:
            raise ClipsError(f"{context.asset_key.to_user_string()} is written by the archive, not through an output.")
