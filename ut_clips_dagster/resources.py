"""Dagster resources: thin, frozen configuration that hands out clients and stores."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from urllib.parse import urlsplit

from dagster import ConfigurableResource, DagsterError, DagsterInstance, InitResourceContext, ResourceDependency
from dagster_gcp import GCSResource
from pydantic import PrivateAttr

from ut_clips_dagster.account import Account
from ut_clips_dagster.archive.discovery import Discoveries
from ut_clips_dagster.archive.documents import ListedClip
from ut_clips_dagster.archive.downloads import Downloader
from ut_clips_dagster.archive.pipeline import ArchivePipeline
from ut_clips_dagster.archive.poller import Batch, ClipPoller, LinkIssued
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.scheduler import PollingPolicy
from ut_clips_dagster.errors import ClipsError, SettingsError
from ut_clips_dagster.hosts import is_loopback_host
from ut_clips_dagster.known_sessions import check_archive_is_there
from ut_clips_dagster.results_api.client import QUICK_GIVE_UP_AFTER_S, QUICK_TIMEOUT, TIMEOUT, ResultsApi
from ut_clips_dagster.results_api.media import MediaClient
from ut_clips_dagster.results_api.pacing import Pacer
from ut_clips_dagster.run_launcher import remote_launcher
from ut_clips_dagster.settings import (
    BUCKETS,
    DEFAULT_MAX_CLIP_BYTES,
    OFFICIAL_API_URL,
    OFFICIAL_TOKEN_URL,
    load_settings,
)
from ut_clips_dagster.storage.gcs import GcsStore
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.media_table import MediaTable
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster.storage.store import Store


class ResourceSettingsError(SettingsError, DagsterError):
    """Settings, or what they name, are wrong.

    A DagsterError, so that Dagster shows this message first, and not one of its own.
    """


_KEPT: dict[str, str] = {}


def kept_secret(secret: str) -> str:
    """A reference to a secret that code was given: Dagster shows the values of a resource to whoever opens its page.

    Every process loads the code that gives the secret, so each knows what its own references stand for.
    """
    reference = f"given in code ({len(_KEPT) + 1})"
    _KEPT[reference] = secret
    return reference


class ResultsApiResource(ConfigurableResource[None]):
    """The UserTesting Results API, for the tests given by their IDs."""

    api_url: str = OFFICIAL_API_URL
    token_url: str = OFFICIAL_TOKEN_URL
    client_id: str
    client_secret: str
    test_ids: list[str]
    client_id_env: str = ""
    client_secret_env: str = ""
    """Of an account in a host's location: the variables that its credentials are read from where they are left out."""

    def setup_for_execution(self, context: InitResourceContext) -> None:  # noqa: ARG002 - Dagster's signature
        """Fail before anything starts, naming every setting that is wrong."""
        try:
            self.check()
        except SettingsError as error:
            raise ResourceSettingsError(str(error)) from None

    @property
    def secret(self) -> str:
        """The client's secret itself."""
        return _KEPT.get(self.client_secret, self.client_secret).strip()  # Kubernetes' often end in a line break

    def check(self) -> None:
        """Raise SettingsError, naming every setting that is wrong, unless requests can be sent."""
        credentials = ((self.client_id_env, self.client_id), (self.client_secret_env, self.secret))
        empty = [variable for variable, value in credentials if not value.strip()]
        if any(empty):
            raise SettingsError(f"Empty in the environment of this process: {' and '.join(empty)}.")
        if empty or not self.test_ids:
            load_settings()
            raise SettingsError(
                "USERTESTING_CLIENT_ID, USERTESTING_CLIENT_SECRET and USERTESTING_TEST_IDS were not set when this "
                "code location was loaded: restart its code server, or reload it under `dagster dev`."
            )

    def client(self, *, waiting: bool = True) -> AbstractContextManager[ResultsApi]:
        """A client; with `waiting=False` one that raises BudgetExhaustedError instead of waiting for budget.

        Such a one is also done in time with an API that hangs: a sensor has 60 s, and says why rather than being ended.
        """
        return closing(
            ResultsApi(
                self.api_url,
                self.token_url,
                self.client_id.strip(),
                self.secret,
                pacer=Pacer(waiting=waiting),
                timeout=TIMEOUT if waiting else QUICK_TIMEOUT,
                give_up_after_s=None if waiting else QUICK_GIVE_UP_AFTER_S,
            )
        )


class ClipPollingResource(ConfigurableResource[None]):
    """Bounded polling of clip generation: of one clip, or of a batch of sessions within one request budget."""

    api: ResourceDependency[ResultsApiResource]
    poll_interval_s: float = 3.0
    poll_max_attempts: int = 10

    @property
    def policy(self) -> PollingPolicy:
        """The bounds as the poller takes them."""
        return PollingPolicy(self.poll_interval_s, self.poll_max_attempts)

    def poll_clip(self, session_id: str, clip: ListedClip) -> LinkIssued:
        """Poll one clip to its link; see `ClipPoller.poll_clip`."""
        with self.api.client() as client:
            return self.poller(client).poll_clip(session_id, clip)

    def poller(
        self,
        client: ResultsApi,
        batch: Batch | None = None,
    ) -> ClipPoller:
        """A poller for sessions by hand, or for a batch; see `ClipPoller`."""
        return ClipPoller(client, self.policy, batch=batch)


class ArchiveResource(ConfigurableResource[None]):
    """Where clips, documents and tables are: a directory, gs://… or s3://…; and where a gallery shows them."""

    gcs: ResourceDependency[GCSResource]
    root: str = "data"
    gallery_url: str = ""
    max_clip_bytes: int = DEFAULT_MAX_CLIP_BYTES
    media_allowed_hosts: list[str] = []  # noqa: RUF012 - a pydantic field
    account_name: str = ""
    key_prefix: list[str] = []  # noqa: RUF012 - a pydantic field
    _s3: Store | None = PrivateAttr(default=None)
    """Kept: a client of boto3 takes long to make, and renews its credentials itself."""

    @property
    def account(self) -> Account:
        """Whose archive it is, which says what all is called."""
        return Account(self.account_name, tuple(self.key_prefix))

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Fail before anything starts where runs would not share the archive, and a run where it is not mounted.

        Such a run says nothing of any session, and costs none a retry. Sensors say it in their own ticks.
        """
        if context.instance is None:
            return
        try:
            self.check(context.instance)
            if context.run:
                check_archive_is_there(context.instance, self.table(), self.account)
        except ClipsError as error:
            raise ResourceSettingsError(str(error)) from None

    def check(self, instance: DagsterInstance) -> None:
        """Raise SettingsError when the archive is a directory, and runs start on several machines."""
        if not self.root.startswith(BUCKETS) and (launcher := remote_launcher(instance)):
            raise SettingsError(
                f"UT_CLIPS_ARCHIVE {self.root} is a directory, but {launcher} starts each run on a machine or in a "
                "container of its own: each would have its own directory, and lose it. Use gs://bucket/prefix or "
                "s3://bucket/prefix; `ut-clips copy SRC DST` takes there what is archived."
            )

    def store(self) -> Store:
        """The store of clips and documents."""
        if self.root.startswith("s3://"):
            self._s3 = self._s3 or _s3_store(self.root)
            return self._s3
        if not self.root.startswith("gs://"):
            return LocalStore(Path(self.root))
        parts = urlsplit(self.root)
        return GcsStore(self.gcs.get_client(), parts.netloc, parts.path)

    def records(self) -> SessionRecords:
        """The sessions' documents."""
        return SessionRecords(self.store())

    def discoveries(self) -> Discoveries:
        """When each test's session list was read."""
        return Discoveries(self.store())

    def table(self) -> MetadataTable:
        """The clip metadata table."""
        return MetadataTable(self.store().uri)

    def media_table(self) -> MediaTable:
        """The table of what the clips' files are."""
        return MediaTable(self.store().uri)

    def pipeline(self, poller: ClipPoller, api_url: str, ended: Callable[[], bool] | None = None) -> ArchivePipeline:
        """A pipeline that archives into here; `ended` says whether the run was ended by others.

        Raises:
            StorageError: the archive cannot be written; nothing was requested.
        """
        store = self.store()
        store.check_writable()
        media = MediaClient(
            allow_loopback=is_loopback_host(urlsplit(api_url).hostname or ""),
            max_bytes=self.max_clip_bytes,
            allowed_hosts=self.media_allowed_hosts,
        )
        return ArchivePipeline(
            poller,
            Downloader(media, store),
            SessionRecords(store),
            MetadataTable(store.uri),
            ended=ended,
        )


def _s3_store(root: str) -> Store:
    """Imported late: boto3 is of an extra, and slow. Credentials, region and endpoint are AWS's own settings."""
    try:
        from dagster_aws.s3 import S3Resource

        from ut_clips_dagster.storage.s3 import S3Store
    except ImportError:
        raise ResourceSettingsError(
            f"UT_CLIPS_ARCHIVE {root} needs boto3 and dagster-aws: pip install 'ut_clips_dagster[s3]'"
        ) from None
    return S3Store.at(S3Resource().get_client(), root)
