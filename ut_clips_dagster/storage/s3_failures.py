"""What S3's refusals mean, and what a person can do about each."""

from __future__ import annotations

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, PRECONDITION_FAILED, UNSATISFIABLE = 401, 403, 404, 409, 412, 416
NOT_IMPLEMENTED = 501
REFUSED = frozenset({CONFLICT, PRECONDITION_FAILED})
"""A condition was not met, or could not be judged, as somebody else was writing."""

NO_CREDENTIALS = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
_LOG_IN = "There are no valid AWS credentials: set AWS_PROFILE or a role, or log in anew (docs/storage.md)"
_OTHER_REGION = "The bucket is in another region: set AWS_REGION and AWS_DEFAULT_REGION to it"
_KMS = (
    "The bucket's KMS key cannot be used: enable it, and grant the credentials kms:GenerateDataKey and kms:Decrypt, or "
    "give the bucket another one"
)
_FULL = "The service has no room left for it: make room, or raise the bucket's quota"
REMEDIES = {
    "ExpiredToken": _LOG_IN,
    "InvalidToken": _LOG_IN,
    "TokenRefreshRequired": _LOG_IN,
    "RequestExpired": _LOG_IN,
    "PermanentRedirect": _OTHER_REGION,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
    "InvalidAccessKeyId": "The service does not know the access key: check AWS_PROFILE, AWS_ACCESS_KEY_ID and "
    "AWS_ENDPOINT_URL",
    "SignatureDoesNotMatch": "The secret key is not the access key's: check AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "RequestTimeTooSkewed": "This machine's clock is wrong: set it. It is tried again by the sensors",
    "InvalidObjectState": "The object is in an archival storage class (Glacier): restore it, and exempt the archive "
    "from the bucket's lifecycle rule",
    "KMS.DisabledException": _KMS,
    "KMS.KMSInvalidStateException": _KMS,
    "KMS.NotFoundException": _KMS,
    "XMinioStorageFull": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "QuotaExceeded": _FULL,
}
"""By S3's name of a refusal: many of these come as 403, and no permission would help."""


def status(error: Exception) -> int | None:
    """The HTTP status of a refusal; None where no answer came."""
    if not isinstance(error, ClientError):
        return None
    answered = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return int(answered) if answered is not None else None


def code(error: Exception) -> str:
    """S3's name of a refusal; empty where there is none, as in an answer without a body."""
    named = str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
    return "" if named.isdigit() else named


def advice(error: Exception) -> str:
    """What to do about it, as a sentence without its full stop."""
    answered, named = status(error), code(error)
    what = "It is tried again by the sensors"
    if named in REMEDIES:
        what = REMEDIES[named]
    elif isinstance(error, NO_CREDENTIALS):
        what = _LOG_IN
    elif isinstance(error, InvalidRegionError):
        what = _OTHER_REGION
    elif answered in (UNAUTHORIZED, FORBIDDEN):
        what = (
            "The credentials may not do that: grant them s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject, "
            "s3:DeleteObject and s3:AbortMultipartUpload on its objects"
        )
    elif answered == NOT_FOUND or isinstance(error, ParamValidationError):
        what = "The bucket or object does not exist: check UT_CLIPS_ARCHIVE"
    elif answered == NOT_IMPLEMENTED:
        what = "The service lacks conditional writes or CRC32C checksums, which the archive needs (docs/storage.md)"
    elif isinstance(error, EndpointConnectionError):
        what = "Nobody answers there: check AWS_ENDPOINT_URL and the network. It is tried again by the sensors"
    return what
