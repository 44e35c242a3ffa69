"""Encryption of every PUT, and the policies of docs/iam: enough for what the code calls."""

import ast
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from pipeline.clip.clip import Clip
from pipeline.runs import lease
from pipeline.runs.ledger import Ledger, WorkerId
from pipeline.runs.quarantine import retry
from pipeline.runs.results import failed
from pipeline.runs.run import Run
from pipeline.runs.tables import write_tables
from pipeline.store import s3, s3_client, storage
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe
from tests.support.results import a_segment, end, published

ROOT = Path(__file__).resolve().parents[3]
OUT = "s3://OUT_BUCKET/OUT_PREFIX".lower().replace("_", "-")
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234"
ACTIONS = {
    "put_object": "s3:PutObject", "get_object": "s3:GetObject", "head_object": "s3:GetObject",
    "list_objects_v2": "s3:ListBucket", "delete_object": "s3:DeleteObject",
    "delete_objects": "s3:DeleteObject",
    "create_multipart_upload": "s3:PutObject", "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
}  # fmt: skip
CLIENT = {"get_paginator", "upload_fileobj", "download_fileobj"}  # made of the operations above

Call = tuple[str, dict[str, Any]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Call]]:
    """Every request to a store in this process, by operation."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    made: list[Call] = []
    with mock_aws():
        s3_client.make_client.cache_clear()
        client = s3_client.client()
        for bucket in ("out-bucket", "source-bucket"):
            client.create_bucket(Bucket=bucket)
        client.meta.events.register(
            "before-parameter-build.s3",
            lambda params, model, **_: made.append((_snake(model.name), dict(params))),
        )
        yield made
        s3_client.make_client.cache_clear()


def _snake(name: str) -> str:
    plain = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
    return plain.replace("objects_v2", "objects_v2")


def policy(role: str) -> list[dict[str, Any]]:
    """The statements of a role, with the names of the test in the place of the placeholders."""
    text = (ROOT / "docs" / "iam" / f"{role}.json").read_text()
    for name in ("OUT_BUCKET", "OUT_PREFIX", "SOURCE_BUCKET", "SOURCE_PREFIX"):
        text = text.replace(name, name.lower().replace("_", "-"))
    statements: list[dict[str, Any]] = json.loads(text)["Statement"]
    return statements


def allows(role: str, call: Call) -> bool:
    operation, parameters = call
    if operation == "delete_objects":  # each object needs the permission
        keys = [{"Bucket": parameters["Bucket"]} | o for o in parameters["Delete"]["Objects"]]
        return all(allows(role, ("delete_object", one)) for one in keys)
    action, bucket = ACTIONS[operation], parameters["Bucket"]
    key = parameters.get("Key", "")
    arn = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    for statement in policy(role):
        actions, resources = (
            [found] if isinstance(found := statement[part], str) else found
            for part in ("Action", "Resource")
        )
        prefixes = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix", ["*"])
        if (
            action in actions
            and any(fnmatchcase(arn, resource) for resource in resources)
            and any(fnmatchcase(parameters.get("Prefix", ""), prefix) for prefix in prefixes)
        ):
            return True
    return False


def night(out: str) -> None:
    """What a run writes, without media: an end of every kind, and a retry."""
    clips = [Clip(name, f"/nowhere/{name}.mkv") for name in "ab"]
    with lease.held(out, "submit"):
        work = Run.open("m.csv", clips, out, Recipe(), lambda event: None)
        ledger = work.settings.ledger
        attempt = ledger.claim_attempt("a", 0, WorkerId(ledger.session, "n", 1))
        ledger.end_attempt("a", 0, attempt)
        ledger.commit_segment("a", a_segment())
        storage.write_bytes(f"{ledger.uri}/segments/a/0.mkv", b"media")
        storage.delete(f"{ledger.uri}/segments/a/0.mkv")
        storage.write_bytes(work.settings.clip_uri(clips[0]), b"film")
        ledger.stop(Reason.CANCELLED)
        bad = failed(clips[1], ClipFault(Reason.TRUNCATED, "cut"), work.settings)
        for result in (published(clips[0], work.settings), bad):
            end(work, result)
    retry(out, ["b"])
    again = Run.open("m.csv", clips, out, Recipe(), lambda event: None)
    again.close()


def test_every_operation_of_the_storage_has_an_action() -> None:
    tree = ast.parse((ROOT / "pipeline" / "store" / "s3.py").read_text())
    used = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "client()"
    }
    assert used - CLIENT <= ACTIONS.keys()
    assert {"put_object", "delete_object", "head_object"} <= used


def test_the_writer_may_do_what_a_night_does_and_delete_nothing_published(
    calls: list[Call],
) -> None:
    night(OUT)
    assert {name for name, _ in calls} >= {"put_object", "delete_object", "list_objects_v2"}
    assert [call for call in calls if not allows("writer", call)] == []
    refused = ("clips/a/a_rst.mkv", "audit/000/1.json", "lease/1.json", "runs/r/run.json")
    for key in refused:
        call = {"Bucket": "out-bucket", "Key": f"out-prefix/{key}"}
        assert not allows("writer", ("delete_object", call)), key
        assert not allows("reporter", ("put_object", call)), key
    signature = {"Bucket": "out-bucket", "Key": "out-prefix/clips/a/a_rst.mkv.c2pa"}
    assert allows("writer", ("delete_object", signature))
    other = {"Bucket": "out-bucket", "Key": "other/a"}
    assert not any(allows(role, ("get_object", other)) for role in ("reader", "writer", "reporter"))


def test_the_reader_reads_sources_and_nothing_else(calls: list[Call], tmp_path: Path) -> None:
    from pipeline.sources.fetch import fetched, source_token

    for name in ("a.mkv", "reel/f_01.png", "reel/f_02.png"):
        storage.write_bytes(f"s3://source-bucket/source-prefix/{name}", b"film")
    calls.clear()
    for name in ("a.mkv", "reel/f_%02d.png"):
        uri = f"s3://source-bucket/source-prefix/{name}"
        source_token(uri)
        with fetched(uri, tmp_path):
            pass
    assert calls and [call for call in calls if not allows("reader", call)] == []
    actions = {a for s in policy("reader") for a in [s["Action"]]}
    assert actions == {"s3:GetObject", "s3:ListBucket"}


def test_the_reporter_writes_the_report_alone(calls: list[Call]) -> None:
    run = {"run": "20260101T000000-abcdef", "started": "2026-01-01", "clips": 0}
    write_tables(OUT, str(run["run"]), "2026-01-01", [], [], [], run)
    calls.clear()
    list(storage.listing(f"{OUT}/tables"))
    storage.write_bytes(f"{OUT}/report/index.html", b"page")
    storage.delete(f"{OUT}/report/clips/a/x.jpg")
    assert len(calls) == 3 and all(allows("reporter", call) for call in calls)


# Encryption


@pytest.mark.parametrize(("key", "named"), [(KEY, KEY), ("default", None)])
def test_every_put_asks_for_encryption(
    calls: list[Call], key: str, named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(s3.KMS_VARIABLE, key)
    storage.write_bytes(f"{OUT}/a", b"a")
    assert storage.create(f"{OUT}/b", b"b") and not storage.create(f"{OUT}/b", b"c")
    large = tmp_path / "large"
    large.write_bytes(bytes(s3_client.PART_BYTES + 1))
    storage.upload(large, f"{OUT}/large")
    storage.upload(tmp_path / "large", f"{OUT}/again")
    puts = [p for name, p in calls if name in ("put_object", "create_multipart_upload")]
    assert len(puts) == 5
    assert {(p["ServerSideEncryption"], p.get("SSEKMSKeyId")) for p in puts} == {("aws:kms", named)}


def test_a_store_that_ignores_it_is_an_error(
    calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes(f"{OUT}/a", b"a")
    assert "ServerSideEncryption" not in calls[-1][1]
    monkeypatch.setenv(s3.KMS_VARIABLE, KEY)
    monkeypatch.setattr(s3_client.client(), "put_object", lambda **_: {})
    with pytest.raises(ClipFault, match="did not encrypt"):
        storage.write_bytes(f"{OUT}/a", b"a")
    assert Ledger(OUT, "r").uri.startswith(OUT)
