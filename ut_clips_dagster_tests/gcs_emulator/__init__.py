"""Google Cloud Storage on your desk: both of its HTTP APIs, its preconditions, and faults on demand."""

from .emulator import GcsEmulator
from .faults import ANY, UPLOADS, Fault, FaultKind, Faults
from .requests import Api, Operation, RequestLog, RequestRecord

__all__ = [
    "ANY",
    "UPLOADS",
    "Api",
    "Fault",
    "FaultKind",
    "Faults",
    "GcsEmulator",
    "Operation",
    "RequestLog",
    "RequestRecord",
]
