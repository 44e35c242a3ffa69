"""Copies of sources on a worker's disk: shared, never freed under a reader, gone at the end."""

import base64
import hashlib
import multiprocessing
import os
import time
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources.fetch import fetched
from pipeline.store import cache, checksum, s3, storage
from pipeline.store.address import join
from schemas.errors import ClipFault
from schemas.reasons import Reason

pytest_plugins = ("tests.support.environment.s3",)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_copy_of_a_file_is_the_file_and_is_not_freed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with cache.local_copy(str(tmp_path / "a"), tmp_path / "cache") as path:
        assert path == tmp_path / "a"
    cache.discard(str(tmp_path / "a"), tmp_path / "cache")
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "cache").exists()


def test_a_missing_object_leaves_nothing(s3_prefix: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ClipFault) as caught,
        cache.local_copy(join(s3_prefix, "none.mkv"), tmp_path),
    ):
        pass
    assert caught.value.reason is Reason.NOT_FOUND
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_kept_until_the_object_changes(s3_prefix: str, tmp_path: Path) -> None:
    uri = join(s3_prefix, "clip.mkv")
    storage.write_bytes(uri, b"one")
    with cache.local_copy(uri, tmp_path) as first:
        made = first.stat().st_mtime_ns
        assert first.suffix == ".mkv"
    with cache.local_copy(uri, tmp_path) as again:
        assert again == first
        assert again.stat().st_mtime_ns == made
        storage.write_bytes(uri, b"two")
        with cache.local_copy(uri, tmp_path) as second:
            assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    cache.discard(uri, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_in_use_is_not_freed(s3_prefix: str, tmp_path: Path) -> None:
    uri = join(s3_prefix, "clip.mkv")
    storage.write_bytes(uri, b"one")
    with cache.local_copy(uri, tmp_path) as path:
        cache.discard(uri, tmp_path)
        assert path.read_bytes() == b"one"
        with cache.local_copy(uri, tmp_path):
            cache.discard(uri, tmp_path)
        assert path.exists()
    cache.discard(uri, tmp_path)
    assert not path.exists()


def test_what_was_not_used_for_a_day_goes_with_the_next_download(
    s3_prefix: str, tmp_path: Path
) -> None:
    paths = {}
    for name in ("old", "held", "young", "new"):
        uri = join(s3_prefix, name)
        storage.write_bytes(uri, name.encode())
        if name != "new":
            with cache.local_copy(uri, tmp_path) as paths[name]:
                pass
    before = time.time() - cache.UNUSED_SECONDS - 60
    with cache.local_copy(join(s3_prefix, "held"), tmp_path):
        for name in ("old", "held"):
            os.utime(f"{paths[name]}.lock", (before, before))
        with cache.local_copy(join(s3_prefix, "new"), tmp_path):
            pass
    assert {name: path.exists() for name, path in paths.items()} == {
        "old": False, "held": True, "young": True,
    }  # fmt: skip


def _use_and_free(uri: str, folder: str) -> bytes:
    with cache.local_copy(uri, Path(folder)) as path:
        time.sleep(0.01)
        data = path.read_bytes()
    cache.discard(uri, Path(folder))
    return data


def _copy(uri: str, folder: str) -> int:
    with cache.local_copy(uri, Path(folder)) as path:
        return path.stat().st_ino


def test_processes_share_one_download(s3_prefix: str, tmp_path: Path) -> None:
    uri = join(s3_prefix, "clip.mkv")
    storage.write_bytes(uri, bytes(2**20))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert len(set(pool.starmap(_copy, [(uri, str(tmp_path))] * 6, chunksize=1))) == 1


def test_processes_that_free_and_use_one_copy_never_miss_it(s3_prefix: str, tmp_path: Path) -> None:
    uri = join(s3_prefix, "clip.mkv")
    storage.write_bytes(uri, b"one")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(_use_and_free, [(uri, str(tmp_path))] * 60, chunksize=1)
    assert found == [b"one"] * 60
    assert list(tmp_path.iterdir()) == []


def test_a_sequence_is_fetched_whole_and_freed_whole(s3_prefix: str, tmp_path: Path) -> None:
    for number in (7, 8, 10):
        storage.write_bytes(join(s3_prefix, f"f_{number:04d}.dpx"), b"%d" % number)
    uri = join(s3_prefix, "f_%04d.dpx")
    with fetched(uri, tmp_path) as pattern:
        found = {path.name: path.read_bytes() for path in pattern.parent.iterdir()}
        assert pattern.name == "%04d.dpx"
        cache.discard(uri, tmp_path)
    assert found == {"0007.dpx": b"7", "0008.dpx": b"8", "0010.dpx": b"10"}
    cache.discard(uri, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_open_cache_is_refused(s3_prefix: str, tmp_path: Path) -> None:
    """What lies in a folder that others may write to may come from anybody."""
    uri, folder = join(s3_prefix, "clip.mkv"), tmp_path / "cache"
    storage.write_bytes(uri, b"one")
    folder.mkdir()
    folder.chmod(0o777)
    with (
        pytest.raises(ClipFault, match="mode 0777 instead of 0700") as caught,
        cache.local_copy(uri, folder),
    ):
        pass
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert list(folder.iterdir()) == []
    (folder / f"{cache._short_hash(uri)}-1.lock").touch()
    cache.discard(uri, folder)
    assert len(list(folder.iterdir())) == 1  # nothing is deleted in a folder of somebody else


def test_no_name_in_the_cache_shows_the_name_of_a_clip(s3_prefix: str, tmp_path: Path) -> None:
    storage.write_bytes(f"{s3_prefix}/adoption-4711.mkv", b"one")
    storage.write_bytes(f"{s3_prefix}/adoption_0007.dpx", b"two")
    for name in ("adoption-4711.mkv", "adoption_%04d.dpx"):
        with fetched(f"{s3_prefix}/{name}", tmp_path / "cache"):
            pass
    names = [path.name for path in (tmp_path / "cache").rglob("*")]
    assert len(names) == 5 and not [name for name in names if "adoption" in name]


def test_a_copy_that_is_not_the_object_is_refused(
    s3_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same size, other bytes: only a checksum of the store shows it."""
    uri, whole = join(s3_prefix, "clip.mkv"), s3._fetch

    def broken(uri: str, path: Path) -> dict[str, Any]:
        stated = whole(uri, path)
        path.write_bytes(b"xxx")
        return stated

    storage.write_bytes(uri, b"one")
    monkeypatch.setattr(s3, "_fetch", broken)
    with (
        pytest.raises(ClipFault, match="was not read as the store holds it") as caught,
        cache.local_copy(uri, tmp_path),
    ):
        pass
    assert caught.value.reason is Reason.STORE_ERROR
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    sequence = f"{s3_prefix}/f_%04d.dpx"
    storage.write_bytes(f"{s3_prefix}/f_0001.dpx", b"one")
    with (
        pytest.raises(ClipFault, match="was not read as the store holds it"),
        fetched(sequence, tmp_path),
    ):
        pass


def _head(**fields: object) -> dict[str, object]:
    return {"ContentLength": 3, "ETag": '"none"'} | fields


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({}, None),
        ({"ETag": f'"{hashlib.md5(b"one").hexdigest()}"'}, True),
        ({"ETag": f'"{hashlib.md5(b"two").hexdigest()}"'}, False),
        ({"ETag": f'"{hashlib.md5(b"two").hexdigest()}-2"'}, None),
        ({"ETag": f'"{hashlib.md5(b"two").hexdigest()}"', "ServerSideEncryption": "aws:kms"}, None),
        ({"ETag": f'"{hashlib.md5(b"two").hexdigest()}"', "SSECustomerAlgorithm": "AES256"}, None),
        ({"ChecksumSHA256": _base64(hashlib.sha256(b"one").digest())}, True),
        ({"ChecksumSHA256": _base64(hashlib.sha256(b"two").digest())}, False),
        ({"ChecksumSHA256": f"{_base64(hashlib.sha256(b'two').digest())}-2"}, None),
        ({"ChecksumSHA256": _base64(bytes(32)), "ChecksumType": "COMPOSITE"}, None),
        ({"ChecksumCRC32": _base64(zlib.crc32(b"one").to_bytes(4, "big"))}, True),
        ({"ChecksumCRC32": _base64(zlib.crc32(b"two").to_bytes(4, "big"))}, False),
        ({"ContentLength": 4}, False),
    ],
)
def test_a_copy_is_held_to_what_the_store_gives(
    fields: dict[str, object], right: bool | None, tmp_path: Path
) -> None:
    """None: the store gives no checksum that this program can calculate, so the size decides."""
    (tmp_path / "copy").write_bytes(b"one")
    assert checksum.matches(tmp_path / "copy", _head(**fields)) is right


SHA, CRC, MD5 = (
    lambda data: hashlib.sha256(data).digest(),
    lambda data: zlib.crc32(data).to_bytes(4, "big"),
    lambda data: hashlib.md5(data).digest(),
)


@pytest.mark.parametrize("held", [b"abcdefg", b"abcdefx"])
@pytest.mark.parametrize("sizes", [(3, 3, 1), (3, 1, 3), ()])
def test_the_checksum_of_an_object_in_parts_is_compared(
    held: bytes, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    """None: its parts have several sizes, or the store does not tell them."""
    (tmp_path / "copy").write_bytes(b"abcdefg")
    cuts = [sum(sizes[:number]) for number in range(len(sizes) + 1)]
    parts = [held[a:b] for a, b in pairwise(cuts)] or [held[:3], held[3:6], held[6:]]

    def part(number: int) -> dict[str, int] | None:
        return {"ContentLength": sizes[number - 1]} if sizes else None

    for name, digest in (("ChecksumSHA256", SHA), ("ChecksumCRC32", CRC), ("ETag", MD5)):
        over = digest(b"".join(map(digest, parts)))
        stated = f'"{over.hex()}-3"' if name == "ETag" else f"{_base64(over)}-3"
        head = _head(**{"ContentLength": 7, name: stated})
        known = (held == b"abcdefg") if sizes == (3, 3, 1) else None
        assert checksum.matches(tmp_path / "copy", head, part) is known
