"""Bad settings are named all at once, without their values."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagster import DagsterInstance, EnvVar

from ut_clips_dagster.cli.platform import opened
from ut_clips_dagster.cli.read_only import existing_instance
from ut_clips_dagster.definitions import settings_or_placeholder
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.resources import ResultsApiResource
from ut_clips_dagster.settings import archive_root, given_settings, load_env_file, load_settings

GOOD = {
    "USERTESTING_CLIENT_ID": "id",
    "USERTESTING_CLIENT_SECRET": "s3cret",
    "USERTESTING_TEST_IDS": "3FA85F64-5717-4562-B3FC-2C963F66AFA6, 41f72104-5f84-44fa-a16a-03f575159611",
}
URLS = ("USERTESTING_API_URL", "USERTESTING_TOKEN_URL", "UT_CLIPS_GALLERY_URL")
NO_URLS = ("https://s3cret:abc", "https://h:99999", "https://h:0", "https://ho st", "https://[::1", "https://a..b")
NOT_PLAIN = ("https://u:s3cret@host/?a=b", "https://s3cret@host", "https://host?a=s3cret", "https://host/#s3cret")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("USERTESTING_", "UT_CLIPS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(str(tmp_path))


def set_all(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    for name, value in {**GOOD, **more}.items():
        monkeypatch.setenv(name, value)


def test_the_defaults_are_the_official_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch)

    settings = load_settings()

    assert settings.api_url == "https://api.use2.usertesting.com"
    assert settings.token_url.startswith("https://auth.usertesting.com/oauth2/")
    assert (settings.archive, settings.poll_interval_s, settings.poll_max_attempts) == ("data", 3.0, 10)
    assert (settings.batch_size, settings.discovery_interval_s) == (10, 300)
    assert settings.test_ids == ("3fa85f64-5717-4562-b3fc-2c963f66afa6", "41f72104-5f84-44fa-a16a-03f575159611")


def test_every_missing_setting_is_named_in_one_message() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings()

    for name in GOOD:
        assert f"{name}: is not set" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("USERTESTING_TEST_IDS", "41f72104-5f84-44fa-a16a-03f575159611,no-uuid", "'no-uuid' is not a UUID"),
        ("USERTESTING_CLIENT_SECRET", " \n", "must not be empty"),
        ("USERTESTING_API_URL", "http://example.com", "must be https"),
        ("USERTESTING_API_URL", "example.com", "must be a URL"),
        *((name, url, "must be a URL such as https://host") for name in URLS for url in NO_URLS),
        *((name, url, "without a user") for name in URLS for url in NOT_PLAIN),
        ("USERTESTING_CLIENT_ID", "  ", "must not be empty"),
        ("UT_CLIPS_ARCHIVE", "gs://", "must name a bucket"),
        ("UT_CLIPS_ARCHIVE", "ftp://host", "must be a directory, gs://bucket/prefix or s3://"),
        ("UT_CLIPS_ARCHIVE", "  ", "must not be empty"),
        ("UT_CLIPS_POLL_INTERVAL_S", "soon", "valid number"),
        ("UT_CLIPS_POLL_MAX_ATTEMPTS", "0", "greater than or equal to 1"),
        ("UT_CLIPS_BATCH_SIZE", "-1", "greater than or equal to 1"),
    ],
)
def test_a_malformed_setting_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    set_all(monkeypatch, **{name: value})

    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()

    assert reason in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a%20b", "a%2fb", "a[1", "a]", "a\\b", "a^b", "a|b", "a\nb", "a\x01b", "a\udcffb"])
@pytest.mark.parametrize("root", ["gs://bucket/", "s3://bucket/", ""])
def test_an_archive_where_a_table_cannot_lie_is_refused(root: str, name: str) -> None:
    with pytest.raises(SettingsError, match=r"must have none of .*Delta table"):
        archive_root(f"{root}{name}/c")


@pytest.mark.parametrize("prefix", ["a#b", "a?b", "a//b", "/a", "a/./b", "a/../b", "..", "."])
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_prefix_that_a_url_says_otherwise_is_refused(scheme: str, prefix: str) -> None:
    """By a directory's name all of these are right, or mean the same to everyone who opens it."""
    with pytest.raises(SettingsError, match="a Delta table would lie elsewhere than the clips"):
        archive_root(f"{scheme}://bucket/{prefix}")


@pytest.mark.parametrize(
    "name", ["a b", "a+b", "é", "日本", "a:b", "~x", "a'b", "a%b", "a%2", "..a", ".a", "a.", "a{b}"]
)
@pytest.mark.parametrize("root", ["gs://bucket/", "s3://bucket/", "data/"])
def test_other_names_are_taken_as_they_are(root: str, name: str) -> None:
    assert archive_root(f" {root}{name}/ ") == f"{root}{name}"


def test_a_variable_without_a_value_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, UT_CLIPS_ARCHIVE="")

    assert load_settings().archive == "data"


@pytest.mark.parametrize("archive", ["", " ", "s3://", "s3:///a", "s3://bucket/a%20b"])
def test_what_is_given_in_code_or_to_copy_is_held_to_the_same(archive: str) -> None:
    with pytest.raises(SettingsError, match="must "):
        archive_root(archive)
    with pytest.raises(SettingsError, match="archive: must "):
        given_settings(client_id="id", client_secret="s3cret", test_ids=GOOD["USERTESTING_TEST_IDS"], archive=archive)


@pytest.mark.parametrize("secret", ["s3cret\n", EnvVar("USERTESTING_CLIENT_SECRET")], ids=["itself", "by reference"])
def test_credentials_may_end_in_a_line_break_as_secrets_of_kubernetes_do(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    set_all(monkeypatch, USERTESTING_CLIENT_ID=" id\n", USERTESTING_CLIENT_SECRET="s3cret\n", UT_CLIPS_GALLERY_URL=" ")
    settings = load_settings()

    assert (settings.client_id, settings.client_secret.get_secret_value()) == ("id", "s3cret")
    resource = ResultsApiResource(client_id=EnvVar("USERTESTING_CLIENT_ID"), client_secret=secret, test_ids=["x"])
    with resource.process_config_and_initialize().client() as client:
        assert client._tokens._form["client_id"] == "id"
        assert client._tokens._form["client_secret"] == "s3cret"


LINES = "".join(f"{name}={value}\n" for name, value in GOOD.items())


@pytest.mark.parametrize(
    ("content", "byte"),
    [(f"# M\xfcller\n{LINES}".encode("latin-1"), 4), (LINES.encode("utf-16"), 1), (LINES.encode("utf-16-le"), 2)],
    ids=["latin-1", "utf-16", "utf-16 without a mark"],
)
def test_a_file_that_is_no_utf_8_is_named_by_all_who_read_it_and_the_code_location_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, byte: int
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / ".env").write_bytes(content)
    (tmp_path / "dagster.yaml").write_bytes(content)

    for read in (load_settings, lambda: load_settings(api=False), load_env_file):
        with pytest.raises(SettingsError, match=rf"^\.env is not UTF-8 at its byte {byte} .*save it as UTF-8"):
            read()
    assert settings_or_placeholder().test_ids == ()
    assert given_settings(client_id="id", client_secret="s", test_ids=["41f72104-5f84-44fa-a16a-03f575159611"])
    with pytest.raises(SettingsError, match=rf"dagster\.yaml is not UTF-8 at its byte {byte} "):
        opened(tmp_path)
    (tmp_path / ".env").unlink()
    with pytest.raises(SettingsError, match=r"dagster\.yaml is not UTF-8"), existing_instance():
        pass


def test_an_env_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(LINES, encoding="utf-8-sig")

    assert load_settings().client_id == "id"


def test_commands_that_ask_the_api_nothing_need_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", "gs://bucket/prefix")

    assert load_settings(api=False).archive == "gs://bucket/prefix"


def test_the_code_location_loads_without_settings_and_its_runs_say_what_is_missing() -> None:
    from ut_clips_dagster.cli.runs import QUIET
    from ut_clips_dagster.definitions import JOB, build_definitions
    from ut_clips_dagster.partitions import SESSIONS

    key = "41f72104-5f84-44fa-a16a-03f575159611"
    with DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SESSIONS, [key])
        job = build_definitions(settings_or_placeholder()).resolve_job_def(JOB)
        run = job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False, run_config=QUIET)

    assert not run.success
    failures = [str(e.event_specific_data) for e in run.all_events if e.is_failure]
    assert any("USERTESTING_CLIENT_SECRET: is not set" in failure for failure in failures)


def test_no_secret_is_in_the_definitions_or_events(monkeypatch: pytest.MonkeyPatch) -> None:
    from ut_clips_dagster.definitions import build_definitions

    set_all(monkeypatch)
    definitions = build_definitions(load_settings())

    assert "s3cret" not in repr(definitions)
    assert "s3cret" not in repr(load_settings())
