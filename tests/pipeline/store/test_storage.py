"""Storage: the same promises on a file system and on a real S3 server."""

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.store import local, s3, s3_client, storage
from pipeline.store.address import join
from schemas.errors import ClipFault
from schemas.reasons import Reason

pytest_plugins = ("tests.support.environment.s3",)


def reason_of(action: Callable[[], object]) -> Reason:
    with pytest.raises(ClipFault) as caught:
        action()
    return caught.value.reason


def test_write_read_replace_delete(store_root: str) -> None:
    uri = join(store_root, "a", "b.json")
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"one")
    before = storage.stat(uri)
    storage.write_bytes(uri, b"four")
    after = storage.stat(uri)
    assert storage.read_bytes(uri) == b"four"
    assert (before.size, after.size) == (3, 4)
    assert before.token != after.token
    assert storage.exists(uri)
    storage.delete(uri)
    storage.delete(uri)
    assert not storage.exists(uri)


def test_missing_is_not_found(store_root: str) -> None:
    uri = join(store_root, "missing.mkv")
    assert reason_of(lambda: storage.stat(uri)) is Reason.NOT_FOUND
    assert reason_of(lambda: storage.read_bytes(uri)) is Reason.NOT_FOUND
    assert reason_of(lambda: storage.download(uri, Path("/tmp/never"))) is Reason.NOT_FOUND


def test_listing_is_whole_ordered_and_empty_for_a_missing_folder(store_root: str) -> None:
    assert list(storage.listing(join(store_root, "nothing"))) == []
    assert storage.folders(join(store_root, "nothing")) == []
    for name in ("runs/b/2", "runs/b/1", "runs/a/1", "runs-not/1"):
        storage.write_bytes(join(store_root, name), name.encode())
    found = list(storage.listing(join(store_root, "runs")))
    assert found == [join(store_root, name) for name in ("runs/a/1", "runs/b/1", "runs/b/2")]
    assert storage.folders(join(store_root, "runs")) == ["a", "b"]
    assert set(storage.read_many(found).values()) == {b"runs/a/1", b"runs/b/1", b"runs/b/2"}


def test_many_objects_are_deleted_at_once(store_root: str) -> None:
    uris = [join(store_root, "old", f"{n % 3}", f"{n}.json") for n in range(30)]
    for uri in uris:
        storage.write_bytes(uri, b"x")
    storage.delete_many([*uris[:20], join(store_root, "old", "0", "never.json")])
    assert set(storage.listing(join(store_root, "old"))) == set(uris[20:])
    storage.delete_many(uris)
    storage.delete_many([])
    assert not list(storage.listing(join(store_root, "old")))


def test_create_has_exactly_one_winner_of_twelve(store_root: str) -> None:
    uri = join(store_root, "claim")
    start = threading.Barrier(12)

    def claim(number: int) -> bool:
        start.wait()
        return storage.create(uri, b"%d" % number)

    with ThreadPoolExecutor(12) as pool:
        won = list(pool.map(claim, range(12)))
    assert won.count(True) == 1
    assert storage.read_bytes(uri) == b"%d" % won.index(True)


def test_create_of_equal_bytes_still_has_one_winner(store_root: str) -> None:
    uri = join(store_root, "claim")
    assert [storage.create(uri, b"same") for _ in range(3)] == [True, False, False]


def test_create_recognises_its_own_write_whose_answer_was_lost(
    s3_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = join(s3_prefix, "claim")
    client = s3_client.client()
    send = client.put_object

    def send_twice(**request: object) -> object:
        send(**request)  # this answer is lost; the client library sends the request again
        return send(**request)

    monkeypatch.setattr(client, "put_object", send_twice)
    assert storage.create(uri, b"mine")
    monkeypatch.undo()


def test_create_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    uri = str(tmp_path / "claim")
    assert storage.create(uri, b"one")
    assert not storage.create(uri, b"two")
    assert storage.read_bytes(uri) == b"one"


def test_no_temporary_file_is_left_or_listed(tmp_path: Path) -> None:
    storage.write_bytes(tmp_path / "a", b"a")
    storage.create(tmp_path / "a", b"b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / ".0123.tmp").write_bytes(b"left by a killed process")
    assert list(storage.listing(tmp_path)) == [str(tmp_path / "a")]


def test_a_failed_write_keeps_the_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    storage.write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert reason_of(lambda: storage.write_bytes(path, b"new")) is Reason.DISK_FULL
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "denied"), Reason.ACCESS_DENIED),
        (NotADirectoryError(errno.ENOTDIR, "not a folder"), Reason.NOT_FOUND),
        (OSError(errno.EDQUOT, "quota"), Reason.DISK_FULL),
        (OSError(errno.EIO, "input/output error"), Reason.STORE_ERROR),
    ],
)
def test_operating_system_errors_have_reasons(error: OSError, reason: Reason) -> None:
    def fail() -> None:
        with local.faults(Path("/a/b")):
            raise error

    assert reason_of(fail) is reason


def test_multipart_round_trip_with_checksum(s3_prefix: str, tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    block = hashlib.sha256(b"seed").digest() * 2**15  # 1 MiB
    source.write_bytes(b"".join(bytes([n]) + block[1:] for n in range(41)))
    uri = join(s3_prefix, "big.mkv")
    storage.upload(source, uri)
    assert storage.stat(uri).token.endswith("-3")  # an ETag of three parts
    bucket, key = s3.bucket_and_key(uri)
    head = s3_client.client().head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert head["ContentLength"] == source.stat().st_size
    storage.download(uri, tmp_path / "back.mkv")
    assert storage.sha256_file(tmp_path / "back.mkv") == storage.sha256_file(source)


def test_the_store_refuses_bytes_that_differ_from_their_checksum(s3_prefix: str) -> None:
    bucket, key = s3.bucket_and_key(join(s3_prefix, "a"))

    def put() -> None:
        with s3_client.store_faults(key):
            s3_client.client().put_object(
                Bucket=bucket, Key=key, Body=b"a", ChecksumSHA256="A" * 43 + "="
            )

    assert reason_of(put) is Reason.STORE_ERROR


def test_upload_and_download_of_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    storage.upload(tmp_path / "a", tmp_path / "out" / "b")
    storage.download(tmp_path / "out" / "b", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"a"
    assert reason_of(lambda: storage.upload(tmp_path / "x", tmp_path / "y")) is Reason.NOT_FOUND


def test_wrong_secret_is_access_denied(s3_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = join(s3_prefix, "a")
    storage.write_bytes(uri, b"a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert reason_of(lambda: storage.read_bytes(uri)) is Reason.ACCESS_DENIED
    assert reason_of(lambda: storage.stat(uri)) is Reason.ACCESS_DENIED
    assert reason_of(lambda: storage.exists(uri)) is Reason.ACCESS_DENIED
    assert reason_of(lambda: storage.write_bytes(uri, b"b")) is Reason.ACCESS_DENIED
    assert reason_of(lambda: storage.create(uri, b"b")) is Reason.ACCESS_DENIED
    assert reason_of(lambda: list(storage.listing(uri))) is Reason.ACCESS_DENIED


def test_no_credentials_is_access_denied(s3_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    uri = join(s3_prefix, "a")
    assert reason_of(lambda: storage.read_bytes(uri)) is Reason.ACCESS_DENIED


def test_unreachable_store_is_a_store_error(
    s3_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3_client, "ATTEMPTS", 1)
    assert reason_of(lambda: storage.stat(f"{s3_prefix}/a")) is Reason.STORE_ERROR


@pytest.mark.parametrize("uri", ["http://h/a", "gs://b/a", "s3://", "s3://key:secret@b/a", "a\0b"])
def test_other_addresses_are_refused_without_io(uri: str) -> None:
    assert reason_of(lambda: storage.read_bytes(uri)) is Reason.URI_REFUSED


def test_file_addresses(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"a")
    assert storage.read_bytes(f"file://{tmp_path}/a%20b") == b"a"


@pytest.mark.parametrize(
    ("base", "parts", "joined"),
    [
        ("s3://b/k/", ("a", "b"), "s3://b/k/a/b"),
        ("s3://b", ("a/b/",), "s3://b/a/b"),
        ("/out", ("a", "", "b"), "/out/a/b"),
        ("out/", (), "out/"),
        ("/", ("a",), "/a"),
    ],
)
def test_join(base: str, parts: tuple[str, ...], joined: str) -> None:
    assert join(base, *parts) == joined
