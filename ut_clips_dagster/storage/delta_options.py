"""What delta-rs cannot find out for itself of the store that a table is in."""

from __future__ import annotations

import json
import os


def storage_options(archive_uri: str) -> dict[str, str] | None:
    """What delta-rs cannot find out for itself of an emulator of GCS, or of an S3 endpoint."""
    if archive_uri.startswith("s3://"):
        return _s3_options()
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if not archive_uri.startswith("gs://") or not emulator:
        return None
    url = emulator if "://" in emulator else f"http://{emulator}"
    key = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    return {"google_service_account_key": json.dumps(key), "allow_http": "true"}


def _s3_options() -> dict[str, str]:
    """A commit is a put with If-None-Match: safe for many writers without DynamoDB. The rest is as boto3 has it."""
    options = {"conditional_put": "etag"}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options |= {
            "aws_endpoint_url": endpoint,
            "allow_http": str(endpoint.startswith("http://")).lower(),
            "aws_force_credential_load": "true",  # or delta-rs reads no profile where it is told an endpoint
        }
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region or endpoint:  # with an endpoint of one's own it is a word to sign with
        options["aws_region"] = region or "us-east-1"
    return options
