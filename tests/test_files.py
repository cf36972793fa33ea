"""Writing whole or not at all: every cause of failure leaves the old file and no temporary one, and says what to do."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from tidegate.errors import OutputError
from tidegate.files import check_writable, output_error, write_atomic

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")
not_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    return path


def assert_untouched(old: Path) -> None:
    assert old.read_bytes() == b"old"
    assert os.listdir(old.parent) == [old.name], "no temporary file is left"


def test_bytes_and_text(tmp_path: Path) -> None:
    assert write_atomic(tmp_path / "a", b"\0\xff") == tmp_path / "a"
    assert (tmp_path / "a").read_bytes() == b"\0\xff"
    write_atomic(os.fspath(tmp_path / "b"), "é\n")
    assert (tmp_path / "b").read_bytes() == "é\n".encode()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_an_older_file_is_replaced(old: Path) -> None:
    write_atomic(old, b"new")
    assert old.read_bytes() == b"new"
    assert os.listdir(old.parent) == [old.name]


@pytest.mark.parametrize("function", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failure_at_any_moment_leaves_the_old_file(
    old: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    if function == "write":
        real = os.fdopen

        def full(descriptor: int, mode: str) -> object:
            stream = real(descriptor, mode)
            return type("Full", (), {"write": fail, "__enter__": lambda s: s, "__exit__": lambda *_: stream.close()})()

        monkeypatch.setattr(os, "fdopen", full)
    else:
        monkeypatch.setattr(os, function, fail)
    with pytest.raises(OutputError) as caught:
        write_atomic(old, b"new")
    monkeypatch.undo()
    assert_untouched(old)
    text = str(caught.value)
    assert text.startswith(f"{old}: could not be written ({os.strerror(code)}); ")
    assert text.endswith("What stood there before is untouched.")
    assert isinstance(caught.value, OSError)


def test_ctrl_c_leaves_the_old_file(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(old, b"new")
    monkeypatch.undo()
    assert_untouched(old)


def test_the_content_is_on_the_disk_before_the_name(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: (seen.append("fsync"), sync(d))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append("replace"), replace(a, b))[1])
    write_atomic(old, b"new")
    assert seen[:2] == ["fsync", "replace"]


def test_a_folder_that_refuses_fsync_is_no_failure(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(old, b"new")
    assert old.read_bytes() == b"new"
    assert calls


PLACES = {
    "a missing folder": ("no/such/model", "the folder does not exist: create it"),
    "a folder": ("sub", "the path is a folder: add a file name"),
    "a name with a slash at its end": ("new/", "the path is a folder: add a file name"),
    "a file for a folder": ("file/model", "a part of the path is a file, not a folder"),
    "too long a name": ("m" * 300, "the name is too long"),
    "a null byte": ("a\0b", "the name holds a character"),
    "a link to itself": ("loop", "the link points to itself"),
}


@posix
@pytest.mark.parametrize("write", [lambda p: write_atomic(p, b"new"), check_writable], ids=["write", "check"])
@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str, write: object) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    name, remedy = PLACES[place]
    if place == "too long a name" and write is check_writable:
        pytest.skip("known only when the name is given")
    with pytest.raises(OutputError, match=remedy):
        write(os.path.join(tmp_path, name))
    assert sorted(os.listdir(tmp_path)) == ["file", "loop", "sub"]
    assert not os.listdir(tmp_path / "sub")


@posix
@not_root
@pytest.mark.parametrize("write", [lambda p: write_atomic(p, b"new"), check_writable], ids=["write", "check"])
def test_a_folder_without_rights(old: Path, write: object) -> None:
    old.parent.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="no right to write there"):
            write(old)
    finally:
        old.parent.chmod(0o700)
    assert_untouched(old)


@pytest.mark.parametrize("write", [lambda p: write_atomic(p, b"new"), check_writable], ids=["write", "check"])
def test_a_protected_file_is_not_renamed_over(old: Path, monkeypatch: pytest.MonkeyPatch, write: object) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == old and mode == os.W_OK))
    with pytest.raises(OutputError, match="no right to write there"):
        write(old)
    assert_untouched(old)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_rights_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = write_atomic(tmp_path / "a", b"x")
        assert os.umask(umask) == umask, "the umask is left as it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@posix
@pytest.mark.parametrize("depth", [1, 2])
def test_a_link_stays_a_link(tmp_path: Path, depth: int) -> None:
    real = tmp_path / "versions" / "1"
    real.parent.mkdir()
    real.write_bytes(b"old")
    target = real
    for k in range(depth):
        link = tmp_path / f"link{k}"
        link.symlink_to(os.path.relpath(target, link.parent))
        target = link
    write_atomic(target, b"new")
    assert target.is_symlink()
    assert real.read_bytes() == b"new"
    assert os.listdir(real.parent) == ["1"]


@posix
def test_a_link_to_what_is_not_there_yet_makes_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new")
    write_atomic(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new").read_bytes() == b"x"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_a_full_device() -> None:
    with pytest.raises(OutputError, match=r"/dev/full: could not be written .*the disk is full: free some space"):
        write_atomic("/dev/full", b"x")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@posix
def test_a_device_or_pipe_is_written_to_not_replaced(tmp_path: Path) -> None:
    write_atomic(os.devnull, b"x")
    check_writable(os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, b"through")
    reader.join(10)
    assert got == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_check_writable_leaves_nothing(old: Path) -> None:
    check_writable(old)
    check_writable(old.parent / "new")
    assert_untouched(old)


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [bytes([k]) * 100_000 for k in range(8)]
    writers = [threading.Thread(target=write_atomic, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["a"]


def test_an_unknown_cause_still_has_a_remedy() -> None:
    assert str(output_error("a", OSError("odd"))).startswith("a: could not be written (odd); check the path and try again.")
