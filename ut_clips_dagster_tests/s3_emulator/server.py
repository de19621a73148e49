"""`python -m ut_clips_dagster_tests.s3_emulator.server moto|ministack PORT`: the emulator, with CRC32C as S3 has it.

moto computes CRC32C by a library that is not installed, and without it gives CRC32 for it; ministack 1.4 refuses it.
Both are given google_crc32c.
"""

from __future__ import annotations

import base64
import importlib
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from typing import Any

import google_crc32c


def _crc32c(body: bytes) -> int:
    return int(google_crc32c.value(bytes(body)))  # type: ignore[no-untyped-call]


def moto(port: int) -> None:
    library: Any = module_from_spec(ModuleSpec("crc32c", loader=None))
    library.crc32c = _crc32c
    sys.modules["crc32c"] = library
    from moto.server import main

    main(["-H", "127.0.0.1", "-p", str(port)])


def ministack(port: int) -> None:
    os.environ |= {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3", "LOG_LEVEL": "WARNING"}
    s3: Any = importlib.import_module("ministack.services.s3")
    compute = s3._compute_s3_checksum

    def with_crc32c(algorithm: str, body: bytes) -> str | None:
        if (algorithm or "").upper() == "CRC32C":
            return base64.b64encode(_crc32c(body).to_bytes(4, "big")).decode()
        result: str | None = compute(algorithm, body)
        return result

    s3._compute_s3_checksum = with_crc32c
    sys.argv = ["ministack"]
    importlib.import_module("ministack.app").main()


if __name__ == "__main__":
    {"moto": moto, "ministack": ministack}[sys.argv[1]](int(sys.argv[2]))
