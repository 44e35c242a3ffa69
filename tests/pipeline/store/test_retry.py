"""Retries: only transient faults are retried, with growing pauses, for a limited time."""

from itertools import islice
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from pipeline.store import s3, storage
from pipeline.store.retry import NIGHTLY, NO_RETRIES, VARIABLE, RetryPolicy, with_retries
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import REASONS, Reason
from tests.support.environment.failing import failing

pytest_plugins = ("tests.support.environment.failing",)
pytestmark = pytest.mark.usefixtures("clock")

TRANSIENT = {Reason.STORE_THROTTLED, Reason.STORE_ERROR, Reason.DISK_FULL}


@pytest.mark.parametrize("reason", list(Reason))
def test_only_transient_faults_are_retried(reason: Reason, clock: list[float]) -> None:
    step = failing(ClipFault(reason, "x"), ClipFault(reason, "x"), None)
    if reason in TRANSIENT:
        assert with_retries(step, NIGHTLY) == "done"
        assert len(clock) == 2
    else:
        with pytest.raises(ClipFault):
            with_retries(step, NIGHTLY)
        assert clock == []


def test_retries_end_and_do_not_nest(clock: list[float]) -> None:
    step = failing(ClipFault(Reason.STORE_ERROR, "503"))
    with pytest.raises(ClipFault) as caught:  # a stage that calls the store
        with_retries(lambda: with_retries(step, NIGHTLY), NIGHTLY)
    assert 200 < sum(clock) < 300
    assert caught.value.retried


def test_a_command_outside_a_run_does_not_retry(clock: list[float]) -> None:
    with pytest.raises(ClipFault):
        with_retries(failing(ClipFault(Reason.STORE_ERROR, "503"), None), NO_RETRIES)
    assert clock == []


def test_the_policy_of_a_run_comes_from_its_environment() -> None:
    assert RetryPolicy.of({}) == NIGHTLY
    assert RetryPolicy.of({VARIABLE: "0"}) == NO_RETRIES
    for wrong in ("soon", "-1", "inf", ""):
        with pytest.raises(ArchiveError, match="number of seconds"):
            RetryPolicy.of({VARIABLE: wrong})


def test_pauses_double_up_to_a_limit_and_differ() -> None:
    first, second = (list(islice(NIGHTLY.pauses(), 12)) for _ in range(2))
    assert first != second
    longest = [min(NIGHTLY.first_pause * 2**k, NIGHTLY.longest_pause) for k in range(12)]
    assert all(top / 2 <= pause <= top for pause, top in zip(first, longest, strict=True))


def answered(status: int, code: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject"
    )


@pytest.mark.parametrize(
    ("trouble", "reason", "again"),
    [
        (answered(429, "TooManyRequests"), Reason.STORE_THROTTLED, True),
        (answered(503, "SlowDown"), Reason.STORE_THROTTLED, True),
        (answered(500, "InternalError"), Reason.STORE_ERROR, True),
        (answered(502, ""), Reason.STORE_ERROR, True),
        (answered(507, ""), Reason.DISK_FULL, True),
        (EndpointConnectionError(endpoint_url="http://s3"), Reason.STORE_ERROR, True),
        (ReadTimeoutError(endpoint_url="http://s3"), Reason.STORE_ERROR, True),
        (answered(403, "InvalidObjectState"), Reason.ARCHIVED_TIER, False),
        (answered(403, "AccessDenied"), Reason.ACCESS_DENIED, False),
        (answered(400, "ExpiredToken"), Reason.ACCESS_DENIED, False),
        (answered(404, "NoSuchKey"), Reason.NOT_FOUND, False),
    ],
)
def test_only_transient_answers_of_a_store_are_retried(
    trouble: Exception, reason: Reason, again: bool,
    clock: list[float], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    class FakeStore:
        asked = 0

        def head_object(self, **request: str) -> dict[str, Any]:
            self.asked += 1
            if self.asked < 3:
                raise trouble
            return {"ContentLength": 5, "ETag": '"e"'}

    store = FakeStore()
    monkeypatch.setattr(s3, "client", lambda: store)
    if again:
        assert storage.Store(NIGHTLY).stat("s3://bucket/key").size == 5
        assert store.asked == 3 and len(clock) == 2
    else:
        with pytest.raises(ClipFault) as caught:
            storage.Store(NIGHTLY).stat("s3://bucket/key")
        assert caught.value.reason is reason
        assert store.asked == 1
    assert REASONS[reason].kind == ("transient" if again else REASONS[reason].kind)


def test_a_repeated_exclusive_create_finds_its_own_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store keeps the object, but fails before it answers."""
    held: dict[str, str] = {}

    class FakeStore:
        def put_object(self, **request: Any) -> None:
            if held:
                raise answered(412, "PreconditionFailed")
            held.update(request["Metadata"])
            raise EndpointConnectionError(endpoint_url="http://s3")

        def head_object(self, **request: str) -> dict[str, Any]:
            return {"Metadata": held}

    store = FakeStore()
    monkeypatch.setattr(s3, "client", lambda: store)
    assert storage.Store(NIGHTLY).create("s3://bucket/claim", b"mine")
