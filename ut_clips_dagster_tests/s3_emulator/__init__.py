"""Amazon S3 on your desk: moto or ministack, with faults on demand, and what neither of them has."""

from .emulator import Kind, S3Emulator

__all__ = ["Kind", "S3Emulator"]
