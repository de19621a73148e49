"""What everything of one UserTesting account is called in Dagster, so that nothing meets a host's or another account's.

The account without a name is that of our own code location: what is called how in it is a contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetSpec,
    DefaultSensorStatus,
    DynamicPartitionsDefinition,
    OpExecutionContext,
    SensorEvaluationContext,
)
from dagster._core.definitions.assets.definition.asset_spec import SYSTEM_METADATA_KEY_IO_MANAGER_KEY

from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.settings import Settings

ARCHIVE_JOB = "archive_clips"
RESULTS_API = "results_api"
CLIP_POLLING = "clip_polling"
ARCHIVE = "archive"
BIGQUERY = "bigquery"


@dataclass(frozen=True)
class Account:
    """One account; of two in one Dagster instance each has a name of its own."""

    name: str = ""
    key_prefix: tuple[str, ...] = ()
    """What all asset keys begin with; the account's name where nothing else is given."""
    sensors_on: bool = True
    """Whether the sensors tick before a person says so."""

    @classmethod
    def of(cls, settings: Settings, *, sensors_on: bool = True) -> Account:
        """The account that the settings name."""
        return cls(settings.account, settings.key_prefix, sensors_on)

    def named(self, what: str) -> str:
        """The name of a job, sensor, op, resource, pool, partition set or value of a tag."""
        return f"{self.name}_{what}" if self.name else what

    def resource(self, context: SensorEvaluationContext | OpExecutionContext | AssetExecutionContext, what: str) -> Any:
        """A resource of this account, in a sensor, an op or an asset."""
        return getattr(context.resources, self.named(what))

    def key(self, asset: str) -> AssetKey:
        """The key of an asset that is called so in the account without a name; its parts are parted by `/`."""
        return AssetKey([*self._prefix, *asset.split("/")])

    def path(self, key: AssetKey) -> Sequence[str]:
        """The parts of the key that the account's asset has in the account without a name."""
        return key.path[len(self._prefix) :]

    @property
    def partitions(self) -> str:
        """The name of the dynamic partitions."""
        return self.named(SESSIONS)

    @property
    def sessions(self) -> DynamicPartitionsDefinition:
        """The partitions definition of all assets."""
        return DynamicPartitionsDefinition(name=self.partitions)

    @property
    def sensor_status(self) -> DefaultSensorStatus:
        """The status of the sensors until a person changes it."""
        return DefaultSensorStatus.RUNNING if self.sensors_on else DefaultSensorStatus.STOPPED

    def holds(self, key: AssetKey) -> bool:
        """Whether a key is, or may be, one of the account's assets."""
        return key.path[: len(self._prefix)] == list(self._prefix)

    @property
    def _prefix(self) -> Sequence[str]:
        return self.key_prefix or ((self.name,) if self.name else ())

    def spec(self, spec: AssetSpec) -> AssetSpec:
        """An asset's spec as it is in this account."""
        manager = spec.metadata.get(SYSTEM_METADATA_KEY_IO_MANAGER_KEY)
        renamed = spec.replace_attributes(
            key=self.key(spec.key.to_user_string()),
            deps=[self.key(dep.asset_key.to_user_string()) for dep in spec.deps],
            partitions_def=self.sessions,
            group_name=self.named(spec.group_name or ""),
        )
        return renamed.with_io_manager_key(self.named(manager)) if manager else renamed


DEFAULT = Account()
