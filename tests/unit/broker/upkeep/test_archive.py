"""An export is taken for what it is, or refused: cut off anywhere, changed anywhere, or something else altogether."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.upkeep.archive import About, ArchiveError, File, describe, read, write

NODE = "ab" * 16
FILES = {"00000003.base": b"base" * 10, "00000004.segment": b"", "00000005.segment": bytes(range(256)) * 3}


def quiet(done: int, of: int) -> None:
    assert done <= of


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    folder = tmp_path / "journal"
    folder.mkdir()
    for name, content in {**FILES, "00000002.segment": b"old", "00000001.spare": b"", "3.new": b""}.items():
        (folder / name).write_bytes(content)
    stream = io.BytesIO()
    write(stream, folder, describe(folder, NODE, 17), quiet)
    return stream.getvalue()


def unpacked(content: bytes, folder: Path) -> About:
    folder.mkdir()
    return read(io.BytesIO(content), folder, quiet)


def test_a_whole_export_has_every_file_that_is_read(whole: bytes, tmp_path: Path) -> None:
    about = unpacked(whole, tmp_path / "new")
    assert (about.node, about.position, about.total_bytes) == (NODE, 17, sum(map(len, FILES.values())))
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == FILES
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}


def test_other_tools_can_list_it(whole: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        assert tar.getnames() == ["export.json", *(f"journal/{name}" for name in FILES), "end.json"]


def test_one_that_was_cut_off_is_refused_wherever_it_was(whole: bytes, tmp_path: Path) -> None:
    end = whole.index(b'{"sha256"') + len(msgspec.json.encode({"sha256": "0" * 64}))
    for number, size in enumerate((*range(0, end, 100), *range(512, end, 512), end - 1)):
        with pytest.raises(ArchiveError):
            unpacked(whole[:size], tmp_path / str(number))


@given(data=st.data())
def test_one_that_was_changed_is_refused_or_the_same(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    source = folder / "journal"
    source.mkdir()
    for name, content in FILES.items():
        (source / name).write_bytes(content)
    stream = io.BytesIO()
    about = describe(source, NODE, 17)
    write(stream, source, about, quiet)
    content = bytearray(stream.getvalue())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert unpacked(bytes(content), folder / "new") == about
    except ArchiveError:
        return
    assert {path.name: path.read_bytes() for path in (folder / "new").iterdir()} == FILES


def archive(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def about(*files: File) -> bytes:
    return msgspec.json.encode(About(node=NODE, position=1, made_at=0, files=[*files]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "this is no export"),
        (b"\0" * 10_240, "it ends too early: export.json is missing"),
        (b"not an archive at all" * 1000, "this is no export"),
        (archive(("etc/passwd", b"")), "export.json was expected, and 'etc/passwd' came"),
        (archive(("export.json", b"[]")), "export.json in it cannot be read: Expected `object`"),
        (archive(("export.json", about(File("../../etc/passwd", 1)))), "is no file of a journal"),
        (archive(("export.json", about(File("00000001.segment", 1)))), "00000001.segment is missing"),
        (
            archive(("export.json", about(File("00000001.segment", 1))), ("journal/00000001.segment", b"xy")),
            "has 2 bytes, which is not what was exported",
        ),
        (archive(("export.json", about()), ("end.json", b'{"sha256":"00"}')), "the checksum does not fit"),
        (archive(("export.json", about()), ("end.json", b"{}")), "end.json in it cannot be read"),
    ],
)
def test_what_is_no_export_is_refused_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as refused:
        unpacked(content, tmp_path / "new")
    assert words in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_pipe_will_do_and_a_full_one_is_an_error(tmp_path: Path, whole: bytes) -> None:
    class Full(io.BytesIO):
        def tell(self) -> int:
            raise OSError("a pipe")

        def write(self, content: object) -> int:
            if self.getbuffer().nbytes > 1000:
                raise OSError("no space left on device")
            return super().write(content)  # type: ignore[arg-type]

    with pytest.raises(OSError, match="no space left"):
        write(Full(), tmp_path / "journal", describe(tmp_path / "journal", NODE, 17), quiet)
