"""Writing a file so that nobody ever sees half of it. In: bytes or text.

Out: the file, whole, or an OutputError and the old file untouched. A link stays a link: the file that it points to is replaced.
Devices and pipes hold nothing that could be lost and are written to as they are.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from tidegate.errors import ConfigError, OutputError, bounded, shown

PathLike = str | os.PathLike[str]

_REMEDY = {
    errno.ENOENT: "the folder does not exist: create it, or name another one",
    errno.EACCES: "no right to write there: choose another folder or change its rights",
    errno.EPERM: "no right to write there: choose another folder or change its rights",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOSPC: "the disk is full: free some space, or name another disk",
    errno.EDQUOT: "the quota is used up: free some space, or name another disk",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "the path is a folder: add a file name",
    errno.EFBIG: "the file system allows no file of that size: name another disk",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ELOOP: "the link points to itself: remove it",
    errno.EINVAL: "the name holds a character that no file name may hold: choose another",
}
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def checked_path(what: str, path: object) -> str:
    """A path as text. Raises: ConfigError for what is none."""
    try:
        text = os.fspath(path)  # type: ignore[call-overload]  # that it is one is what is looked at
    except Exception as error:  # an object's own __fspath__ may raise anything
        raise ConfigError(f"{what}: expected the name of a file, got {shown(path)}") from error
    if not isinstance(text, str):
        raise ConfigError(f"{what}: expected the name of a file as text, got {shown(path)}")
    return text


def output_error(path: PathLike, error: OSError) -> OutputError:
    """The error for a file that could not be written, with the remedy that fits the cause."""
    remedy = _REMEDY.get(error.errno or 0, "check the path and try again")
    reason = error.strerror or str(error)
    return OutputError(
        f"{bounded(os.fspath(path))}: could not be written ({reason}); {remedy}. What stood there before is untouched."
    )


def write_atomic(path: PathLike, data: bytes | str) -> Path:
    """Write `data` through a temporary file beside `path`, fsync and rename; text is written as UTF-8.

    Raises: OutputError when the file cannot be written; an older file at `path` then stays as it was.
    """
    payload = data.encode() if isinstance(data, str) else data
    checked_path("path", path)
    try:
        target = _target(path)
        if _is_special(target):
            target.write_bytes(payload)
        else:
            _replace(target, payload)
    except OSError as error:
        raise output_error(path, error) from error
    return Path(path)


def check_writable(path: PathLike) -> None:
    """Fail now, before long work, where `path` could not be written at its end. Raises: OutputError."""
    checked_path("path", path)
    try:
        target = _target(path)
        if not _is_special(target):
            descriptor, temporary = _temporary(target)
            os.close(descriptor)
            os.unlink(temporary)
    except OSError as error:
        raise output_error(path, error) from error


def _target(path: PathLike) -> Path:
    """The file to write, behind any links. Raises: OSError where it is a folder, or a file that may not be written."""
    text = os.fspath(path)
    if "\0" in text or any("\ud800" <= letter <= "\udbff" for letter in text):  # "\udc80" and on are how Python reads odd bytes
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if _is_special(Path(text)):
        return Path(text)  # /dev/stdout resolves to the name of a pipe, which is no path
    target = Path(os.path.realpath(text))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if target.is_dir() or text.endswith(("/", os.sep)):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    # A rename would overwrite a file that its owner has protected against writing.
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return target


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _replace(target: Path, payload: bytes) -> None:
    descriptor, temporary = _temporary(target)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:  # Ctrl-C too leaves nothing behind
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _temporary(target: Path) -> tuple[int, Path]:
    """A new file beside `target`, with the rights that the umask gives any new file."""
    path = target.parent / f".{target.name[:40]}.{secrets.token_hex(8)}.tmp"
    return os.open(path, _CREATE, 0o666), path


def _sync_folder(folder: Path) -> None:
    """Make the rename durable where the system can; the file is whole already, so a refusal is no failure."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
