"""For a team that has a Dagster of its own: five lines of YAML, or one call (docs/embedding.md)."""

from __future__ import annotations

from typing import Any

from dagster import Component, ComponentLoadContext, Definitions, EnvVar, Model, Resolvable
from pydantic import BaseModel, Field, ModelWrapValidatorHandler, ValidationError, create_model, model_validator
from pydantic_core import InitErrorDetails

from ut_clips_dagster.account import Account
from ut_clips_dagster.definitions import definitions_of, follow_ons
from ut_clips_dagster.resources import ResultsApiResource, kept_secret
from ut_clips_dagster.sensors import old_runs_of_account_sensor
from ut_clips_dagster.settings import DEFAULT_MAX_CLIP_BYTES, OFFICIAL_API_URL, OFFICIAL_TOKEN_URL, given_settings

NOT_SETTINGS = {"sensors", "client_id", "client_secret", "client_id_env", "client_secret_env"}


class NoInputShown(Model):
    """Its errors tell what is wrong and where, and never what was given: that may be a secret, or hold one."""

    @model_validator(mode="wrap")
    @classmethod
    def _without_input(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        """Pydantic's `hide_input_in_errors` is not enough: Dagster makes an error anew, with the YAML's line."""
        try:
            return handler(value)
        except ValidationError as error:
            details = [
                InitErrorDetails(type=each["type"], loc=each["loc"], ctx=each.get("ctx", {}), input="(not shown)")
                for each in error.errors()
            ]
            raise ValidationError.from_exception_data(error.title, details) from None


class UserTestingClipsComponent(Component, NoInputShown, Resolvable):
    """Archives the clips of one UserTesting account; several accounts are several components.

    Nothing is read from the environment but the credentials, and those by the names that are given here.
    """

    test_ids: list[str] = Field(description="UUIDs of the tests whose sessions are archived.")
    archive: str = Field(description="Where to: a directory, gs://bucket/prefix or s3://bucket/prefix.")
    account: str = Field(
        "usertesting",
        description="Begins every name: partitions, jobs, sensors, resources, pools, ops and values of run tags. '' "
        "gives the names of the package's own code location, for who moves an archive from there.",
    )
    key_prefix: list[str] = Field([], description="Begins every asset key; the account's name where it is empty.")
    client_id_env: str = Field("USERTESTING_CLIENT_ID", description="Environment variable with the client's ID.")
    client_secret_env: str = Field("USERTESTING_CLIENT_SECRET", description="Environment variable with its secret.")
    client_id: str | None = Field(None, description="The client's ID itself, instead of a variable's name.")
    client_secret: str | None = Field(
        None, description="Its secret itself; Dagster's pages do not show it.", repr=False
    )
    sensors: bool = Field(default=True, description="Whether the sensors tick before a person turns them on.")
    api_url: str = Field(OFFICIAL_API_URL, description="The Results API, without /api/v2.")
    token_url: str = Field(OFFICIAL_TOKEN_URL, description="The OAuth2 token endpoint.")
    batch_size: int = Field(10, description="Sessions per run that a sensor requests.")
    discovery_interval_s: int = Field(300, description="The interval of the sensor that finds new sessions.")
    poll_interval_s: float = Field(3.0, description="First delay between two polls of one clip's generation.")
    poll_max_attempts: int = Field(10, description="Polls of one clip's generation in a run.")
    max_clip_bytes: int = Field(DEFAULT_MAX_CLIP_BYTES, description="A larger clip is refused.")
    media_allowed_hosts: list[str] = Field([], description="Hosts that clips may come from; any where it is empty.")
    alert_urls: list[str] = Field([], description="Apprise URLs to tell when something is not well.", repr=False)
    transcripts: bool = Field(default=True, description="Whether transcripts are fetched and cut to the clips.")
    gallery_url: str = Field("", description="Where `ut-clips gallery` is served.")
    bigquery_dataset: str = Field(
        "", description="project.dataset, to which tables and the view `clips` are published."
    )

    @classmethod
    def model(cls) -> type[BaseModel]:
        """What Dagster validates YAML with; it derives one of fields alone."""
        derived = super().model()
        return create_model(derived.__name__, __base__=(derived, NoInputShown))

    def build_defs(self, context: ComponentLoadContext | None = None) -> Definitions:  # noqa: ARG002 - Dagster's
        """All of this account, to be merged with whatever else the host has.

        Raises:
            SettingsError: naming all that is wrong of what was given.
        """
        client_id = self._given("client_id", self.client_id, self.client_id_env)
        secret = self._given("client_secret", self.client_secret, self.client_secret_env)
        settings = given_settings(client_id=client_id, client_secret=secret, **self.model_dump(exclude=NOT_SETTINGS))
        results_api = ResultsApiResource(
            api_url=settings.api_url,
            token_url=settings.token_url,
            client_id=client_id,
            client_secret=secret if isinstance(secret, EnvVar) else kept_secret(secret),
            test_ids=list(settings.test_ids),
            client_id_env=self.client_id_env,
            client_secret_env=self.client_secret_env,
        )
        account = Account.of(settings, sensors_on=self.sensors)
        its_runs = Definitions(
            sensors=[old_runs_of_account_sensor(account, [f.job_name for f in follow_ons(settings, account)])]
        )
        return Definitions.merge(definitions_of(account, settings, results_api), its_runs)

    def _given(self, name: str, value: str | None, variable: str) -> str:
        """A credential by value, or a reference to its variable where it is left out.

        What is given but empty, as a template of a variable that is not set, is not left out: the variable that is
        there by default may be another account's.
        """
        return value or "" if name in self.model_fields_set else EnvVar(variable)


def build_definitions(**attributes: Any) -> Definitions:
    """The same for Python: every attribute of the component by its name; credentials may be `EnvVar`s.

    Raises:
        SettingsError: naming all that is wrong of what was given.
        pydantic.ValidationError: an attribute is unknown, or lacking.
    """
    for name in ("client_id", "client_secret"):
        if isinstance(attributes.get(name), EnvVar):
            attributes[f"{name}_env"] = attributes.pop(name).env_var_name
    return UserTestingClipsComponent(**attributes).build_defs()
