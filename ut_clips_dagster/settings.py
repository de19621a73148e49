"""The settings, read from the environment (and `.env`) and validated as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from dotenv import load_dotenv
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.hosts import is_loopback_host
from ut_clips_dagster.results_api.models import Uuid

OFFICIAL_API_URL = "https://api.use2.usertesting.com"
OFFICIAL_TOKEN_URL = "https://auth.usertesting.com/oauth2/aus1p3vtd8vtm4Bxv0h8/v1/token"  # noqa: S105 - a URL
DEFAULT_MAX_CLIP_BYTES = 20 * 1024**3
BUCKETS = ("gs://", "s3://")
ENV_FILE = Path(".env")
_NO_TABLE = re.compile(r"[][\\^|\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|%[0-9A-Fa-f]{2}")
"""delta-rs takes a place for a URL: these it decodes, drops or refuses, some only when the first rows are written."""


def _secure_url(value: str) -> str:
    value = value.strip()
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        host.encode("idna")  # as it is when it is looked up
        is_url = value.isprintable() and re.fullmatch(r"[\w.:-]+", host) and parts.scheme in ("https", "http")
        is_url = is_url and " " not in value and parts.port != 0  # a port that is none raises
    except ValueError:
        is_url = False
    if not is_url:  # the value is not told: there may be a password in it
        raise ValueError("must be a URL such as https://host or https://host:8443/path")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be a URL without a user, a password, a query or a fragment")
    if parts.scheme == "http" and not is_loopback_host(host):
        raise ValueError("must be https (http is for loopback hosts only)")
    return value.rstrip("/?#")


def _credential(value: object) -> object:
    """Without the line break that a secret ends in that was made of a file."""
    if isinstance(value, str):
        value = value.strip()
        if not value:
            raise ValueError("must not be empty")
    return value


def _archive_root(value: str) -> str:
    value = value.strip()
    if not value:
        raise ValueError("must not be empty")
    if value.startswith(BUCKETS):
        return _bucket(value)
    if "://" in value:
        raise ValueError("must be a directory, gs://bucket/prefix or s3://bucket/prefix")
    try:
        directory = Path(value).expanduser()
    except RuntimeError:
        raise ValueError("names no home directory") from None
    if _NO_TABLE.search(str(directory.absolute())):
        raise ValueError(
            r"must have none of [ ] \ ^ |, no control character and no percent escape such as %20 in its path: "
            "a Delta table cannot lie there"
        )
    return str(directory).rstrip("/") or "/"


def _bucket(value: str) -> str:
    bucket, *segments = value.partition("://")[2].rstrip("/").split("/")
    if not bucket:
        raise ValueError(f"must name a bucket: {value.partition('://')[0]}://bucket/prefix")
    if re.search(r"[#?]", value) or _NO_TABLE.search(value) or not {"", ".", ".."}.isdisjoint(segments):
        raise ValueError(
            r"must have none of # ? [ ] \ ^ |, no control character, no percent escape such as %20 and no empty part, "
            ". or .. in its prefix: a Delta table would lie elsewhere than the clips, or nowhere"
        )
    return value.rstrip("/")


def _dataset(value: str) -> str:
    value = value.strip()
    if value and not re.fullmatch(r"[a-z][a-z0-9:.-]*\.[A-Za-z0-9_]+", value):
        raise ValueError("must be project.dataset")
    return value


def _account(value: str) -> str:
    value = value.strip()
    if not re.fullmatch(r"([a-z][a-z0-9_]{0,29})?", value):
        raise ValueError("must be at most 30 letters a-z, digits and _, the first one a letter")
    return value


def _key_prefix(value: object) -> object:
    if not isinstance(value, str):
        return value
    path = value.strip().strip("/")
    return tuple(path.split("/")) if path else ()


def _asset_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+", value):
        raise ValueError("must be of letters, digits and _")
    return value


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


SecureUrl = Annotated[str, AfterValidator(_secure_url)]
Credential = BeforeValidator(_credential)
CommaSeparated = BeforeValidator(_split)
AssetName = Annotated[str, AfterValidator(_asset_name)]


class Settings(BaseSettings):
    """Everything the platform can be told from outside; see the README's configuration table.

    Raises (through `load_settings`):
        SettingsError: naming every missing or malformed setting in one message.
    """

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",  # editors of Windows begin a file with a byte order mark
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    api_url: SecureUrl = Field(OFFICIAL_API_URL, validation_alias="USERTESTING_API_URL")
    token_url: SecureUrl = Field(OFFICIAL_TOKEN_URL, validation_alias="USERTESTING_TOKEN_URL")
    client_id: Annotated[str, Credential] = Field(validation_alias="USERTESTING_CLIENT_ID")
    client_secret: Annotated[SecretStr, Credential] = Field(validation_alias="USERTESTING_CLIENT_SECRET")
    test_ids: Annotated[tuple[Uuid, ...], NoDecode, CommaSeparated] = Field(
        validation_alias="USERTESTING_TEST_IDS", min_length=1
    )
    archive: Annotated[str, AfterValidator(_archive_root)] = Field("data", validation_alias="UT_CLIPS_ARCHIVE")
    poll_interval_s: float = Field(3.0, validation_alias="UT_CLIPS_POLL_INTERVAL_S", gt=0, le=600)
    poll_max_attempts: int = Field(10, validation_alias="UT_CLIPS_POLL_MAX_ATTEMPTS", ge=1, le=1000)
    batch_size: int = Field(10, validation_alias="UT_CLIPS_BATCH_SIZE", ge=1, le=1000)
    discovery_interval_s: int = Field(300, validation_alias="UT_CLIPS_DISCOVERY_INTERVAL_S", ge=1)
    max_clip_bytes: int = Field(DEFAULT_MAX_CLIP_BYTES, validation_alias="UT_CLIPS_MAX_CLIP_BYTES", ge=1)
    media_allowed_hosts: Annotated[tuple[str, ...], NoDecode, CommaSeparated] = Field(
        (), validation_alias="UT_CLIPS_MEDIA_ALLOWED_HOSTS"
    )
    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode, CommaSeparated] = Field(
        (), validation_alias="UT_CLIPS_ALERT_URLS"
    )
    transcripts: bool = Field(default=True, validation_alias="UT_CLIPS_TRANSCRIPTS")
    gallery_url: Annotated[str, AfterValidator(lambda url: _secure_url(url) if url.strip() else "")] = Field(
        "", validation_alias="UT_CLIPS_GALLERY_URL"
    )
    bigquery_dataset: Annotated[str, AfterValidator(_dataset)] = Field("", validation_alias="UT_CLIPS_BIGQUERY_DATASET")
    account: Annotated[str, AfterValidator(_account)] = Field("", validation_alias="UT_CLIPS_ACCOUNT")
    key_prefix: Annotated[tuple[AssetName, ...], NoDecode, BeforeValidator(_key_prefix)] = Field(
        (), validation_alias="UT_CLIPS_KEY_PREFIX"
    )


def archive_root(value: str) -> str:
    """A place for an archive, as UT_CLIPS_ARCHIVE names it.

    Raises:
        SettingsError: it is none.
    """
    try:
        return _archive_root(value)
    except ValueError as error:
        raise SettingsError(f"{value.strip() or 'The place'} {error}.") from None


def load_settings(*, api: bool = True) -> Settings:
    """Read and validate all settings.

    Args:
        api: False for what asks the API nothing: credentials and test IDs may then be missing.

    Raises:
        SettingsError: one message with a line for every setting that is missing or malformed; or `.env` is no text.
    """
    check_text(ENV_FILE)
    try:
        return Settings() if api else Settings(**_NO_API)  # type: ignore[arg-type]  # the environment gives the rest
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None  # the cause would print the values, secrets included


def load_env_file() -> None:
    """Put what `.env` says into the environment, where Dagster and the clouds' libraries look; what is there stays.

    Raises:
        SettingsError: it is no text.
    """
    check_text(ENV_FILE)
    load_dotenv(ENV_FILE, encoding="utf-8-sig")


def check_text(path: Path) -> None:
    """Refuse a file, if there is one, that is not the UTF-8 it is going to be read as.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8, or holds a NUL, as UTF-16 does.
    """
    if not path.is_file():
        return
    try:
        content = path.read_bytes()
        content.decode()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        wrong = error.start
    else:
        wrong = content.find(b"\0")
    if wrong >= 0:
        raise SettingsError(f"{path} is not UTF-8 at its byte {wrong + 1} (0x{content[wrong]:02x}): save it as UTF-8.")


_NO_API = {
    "client_id": "unused",
    "client_secret": "unused",
    "test_ids": "00000000-0000-0000-0000-000000000000",
    "api_url": OFFICIAL_API_URL,
    "token_url": OFFICIAL_TOKEN_URL,
}


class _GivenSettings(Settings):
    """Settings of an account in a host's location: nothing of them is read from the environment."""

    model_config = SettingsConfigDict(env_file=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, and the defaults."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def given_settings(**values: Any) -> Settings:
    """Settings that are given in code, by their fields' names; the environment has no say.

    Raises:
        SettingsError: one message with a line for every one that is missing or malformed.
    """
    try:
        return _GivenSettings(**values)
    except ValidationError as error:
        names = {str(field.validation_alias): name for name, field in Settings.model_fields.items()}
        problems = {names.get(name, name): reason for name, reason in _problems(error).items()}
        raise SettingsError(f"What is given for the account is missing or wrong:\n{_lines(problems)}") from None


def _explain(error: ValidationError) -> str:
    return (
        "These settings are missing or wrong; set them in the environment or in .env "
        f"(.env.example explains each):\n{_lines(_problems(error))}"
    )


def _problems(error: ValidationError) -> dict[str, str]:
    problems: dict[str, str] = {}
    for detail in error.errors(include_input=False, include_url=False):
        name = str(detail["loc"][0])
        reason = "is not set" if detail["type"] == "missing" else detail["msg"].removeprefix("Value error, ")
        problems.setdefault(name, reason)
    return problems


def _lines(problems: Mapping[str, str]) -> str:
    return "\n".join(f"  {name}: {reason}" for name, reason in problems.items())


def placeholder_settings() -> Settings:
    """Settings to load a code location with when the real ones are wrong: without credentials or tests."""
    return Settings.model_construct(
        api_url=OFFICIAL_API_URL,
        token_url=OFFICIAL_TOKEN_URL,
        client_id="",
        client_secret=SecretStr(""),
        test_ids=(),
        archive="data",
        poll_interval_s=3.0,
        poll_max_attempts=10,
        batch_size=10,
        discovery_interval_s=300,
        max_clip_bytes=DEFAULT_MAX_CLIP_BYTES,
        media_allowed_hosts=(),
        alert_urls=(),
        transcripts=False,
        gallery_url="",
        bigquery_dataset="",
        account="",
        key_prefix=(),
    )
