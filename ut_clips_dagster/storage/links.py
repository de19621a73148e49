"""Names given without overwriting, also where a filesystem refuses hard links: exFAT, SMB, another device."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from pathlib import Path

from filelock import FileLock

LOCK = ".lock"
REFUSED = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.EOPNOTSUPP,
        errno.ENOTSUP,
        errno.ENOSYS,
        errno.EINVAL,
        errno.EMLINK,
        errno.EXDEV,
    }
)
"""How filesystems say that they have no hard links, no more for this file, or none to another device."""
_NO_DIRECTORY_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EBADF})


def publish(temporary: Path, target: Path) -> bool:
    """Give a synced file its final name, at once and durably; False when the name is taken: nothing is overwritten.

    A hard link does it, as a rename would overwrite. `temporary` may be left; its owner removes it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        if not _rename(temporary, target):
            return False
    sync_directory(target.parent)
    return True


def replace(temporary: Path, target: Path) -> None:
    """Put a synced file in the place of another at once, from another device, too; the directory's lock is held."""
    try:
        temporary.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{target.name}.part")  # one name: what a killed process left is written over
        _copy(temporary, beside)
        beside.replace(target)


def refuses_links(directory: Path) -> bool:
    """Whether files in a directory that is there cannot have a second name."""
    probe = directory / f".{uuid.uuid4().hex}.probe"
    second = probe.with_suffix(".link")
    try:
        probe.touch(exist_ok=False)
        os.link(probe, second)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return True
    finally:
        for name in (probe, second):
            name.unlink(missing_ok=True)
    return False


def sync_directory(directory: Path) -> None:
    """Make a new name survive a power cut, on filesystems that can be asked to."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def _rename(temporary: Path, target: Path) -> bool:
    """Look, then rename; the directory's lock, which dies with its process, lets no other writer in between.

    Not by renameat2's RENAME_NOREPLACE: exFAT in user space, NFS and others refuse that, too.
    """
    with FileLock(target.parent / LOCK):
        if os.path.lexists(target):
            return False
        replace(temporary, target)
    return True


def _copy(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1024 * 1024)
            writer.flush()
            os.fsync(writer.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        raise
