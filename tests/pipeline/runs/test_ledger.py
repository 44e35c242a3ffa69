"""The ledger: work counts once, a run is resumed, and deaths of workers are counted."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.runs.ledger import Ledger, WorkerId, runs
from pipeline.shard_progress import ShardProgress
from pipeline.store import local, storage
from schemas.errors import ArchiveError
from tests.support.results import a_result, a_segment

pytest_plugins = ("tests.support.environment.s3",)

IDENTITY = {"manifest": "m1", "recipe": "r1", "weights": "w1", "code": "c1"}


def worker(session: str = "s", node: str = "n", pid: int = 1) -> WorkerId:
    return WorkerId(session, node, pid)


def test_an_unfinished_run_is_resumed(store_root: str) -> None:
    first = Ledger.open_or_resume(store_root, IDENTITY)
    first.commit_clip(a_result())
    again = Ledger.open_or_resume(store_root, IDENTITY)
    assert again.run == first.run
    assert again.session != first.session
    assert again.done() == {"a": a_result()}
    info = again.info()
    assert info["identity"] == IDENTITY
    assert [s["session"] for s in info["sessions"]] == [first.session, again.session]


def test_a_finished_run_is_not_resumed(store_root: str) -> None:
    first = Ledger.open_or_resume(store_root, IDENTITY)
    assert first.summary() is None
    first.finish({"exit_code": 0})
    assert first.summary() == {"exit_code": 0}
    second = Ledger.open_or_resume(store_root, IDENTITY)
    assert second.run != first.run
    assert runs(store_root) == sorted([first.run, second.run])


def test_a_run_of_another_identity_is_not_resumed(tmp_path: object) -> None:
    out = str(tmp_path)
    first = Ledger.open_or_resume(out, IDENTITY)
    other = Ledger.open_or_resume(out, IDENTITY | {"recipe": "r2"})
    assert other.run != first.run
    assert Ledger.open_or_resume(out, IDENTITY).run == first.run


def test_other_folders_below_runs_are_ignored(tmp_path: object) -> None:
    out = str(tmp_path)
    storage.write_bytes(f"{out}/runs/notes/readme.txt", b"")
    storage.write_bytes(f"{out}/runs/20990101T000000-abcdef/stray", b"")
    first = Ledger.open_or_resume(out, IDENTITY)
    assert Ledger.open_or_resume(out, IDENTITY).run == first.run


def test_a_store_without_conditional_writes_is_refused(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(uri: str, data: bytes, mark: str) -> bool:
        storage.write_bytes(uri, data)
        return True

    monkeypatch.setattr(local, "create", create)
    with pytest.raises(ArchiveError, match="If-None-Match"):
        Ledger.open_or_resume(str(tmp_path), IDENTITY)


def test_one_of_six_parallel_commits_counts(store_root: str) -> None:
    ledger = Ledger.open_or_resume(store_root, IDENTITY)
    start = threading.Barrier(6)

    def commit(number: int) -> tuple[bool, bool, int]:
        mine: Ledger = pickle.loads(pickle.dumps(ledger))
        start.wait()
        segment = mine.commit_segment("a", a_segment(3, retries=number))
        clip = mine.commit_clip(a_result(retries=number)) is not None
        return segment, clip, mine.claim_attempt("a", 3, worker(pid=number))

    with ThreadPoolExecutor(6) as pool:
        segments, clips, numbers = zip(*pool.map(commit, range(6)), strict=True)
    assert segments.count(True) == 1
    assert clips.count(True) == 1
    assert ledger.segments("a") == {3: a_segment(3, retries=segments.index(True))}
    assert ledger.done() == {"a": a_result(retries=clips.index(True))}
    assert sorted(numbers) == list(range(1, 7))


def test_deaths_are_unended_and_superseded_attempts(store_root: str) -> None:
    ledger = Ledger.open_or_resume(store_root, IDENTITY)
    for number in (1, 2, 3):
        assert ledger.claim_attempt("a", 0, worker()) == number
        assert ledger.deaths("a", "s", set()) == number - 1  # the latest may be in progress
        assert ledger.deaths("a", "s", set(), shard=0) == number
        assert ledger.deaths("a", "s", set(), shard=1) == number - 1
    assert ledger.deaths("b", "s", set()) == 0


def test_a_first_attempt_is_one_request_and_its_segment_is_its_end(store_root: str) -> None:
    ledger = Ledger.open_or_resume(store_root, IDENTITY)
    assert not ledger.resumed
    assert ledger.begin_shard("a", 0, worker())
    assert not ledger.begin_shard("a", 0, worker())  # another worker asks the ledger for more
    assert ledger.deaths("a", "s", set(), shard=0) == 1
    assert ledger.claim_attempt("a", 0, worker()) == 2
    assert ledger.segment("a", 0) is None
    ledger.commit_segment("a", a_segment(0))
    assert ledger.segment("a", 0) == a_segment(0)
    assert ledger.deaths("a", "s", set(), shard=0) == 1  # the first; the second has a segment
    assert [attempt["ended"] for attempt in ledger.attempts("a")] == [False, True]
    assert Ledger.open_or_resume(store_root, IDENTITY).resumed


def test_parallel_shards_are_no_deaths(tmp_path: object) -> None:
    ledger = Ledger.open_or_resume(str(tmp_path), IDENTITY)
    for shard in range(5):
        ledger.claim_attempt("a", shard, worker(pid=shard))
    assert ledger.deaths("a", "s", set()) == 0


def test_an_ended_attempt_is_no_death(tmp_path: object) -> None:
    ledger = Ledger.open_or_resume(str(tmp_path), IDENTITY)
    ledger.end_attempt("a", 0, ledger.claim_attempt("a", 0, worker()))
    ledger.claim_attempt("a", 0, worker())
    assert ledger.deaths("a", "s", set()) == 0


def test_lost_nodes_and_earlier_sessions_are_no_deaths(tmp_path: object) -> None:
    ledger = Ledger.open_or_resume(str(tmp_path), IDENTITY)
    for session, node in (("old", "n"), ("s", "lost"), ("s", "n"), ("s", "n")):
        ledger.claim_attempt("a", 0, worker(session, node))
    assert ledger.deaths("a", "s", {"lost"}) == 1
    assert ledger.deaths("a", "s", set()) == 2
    assert ledger.deaths("a", "old", set()) == 1


def test_a_negative_shard_stands_for_another_step(tmp_path: object) -> None:
    ledger = Ledger.open_or_resume(str(tmp_path), IDENTITY)
    assert ledger.claim_attempt("a", -1, worker()) == 1
    assert ledger.claim_attempt("a", -1, worker()) == 2
    assert ledger.deaths("a", "s", set()) == 1


def test_assembly_belongs_to_one_shard_of_a_session(store_root: str) -> None:
    ledger = Ledger.open_or_resume(store_root, IDENTITY)
    assert ledger.claim_assembly("a", "s", 2) == "new"
    assert ledger.claim_assembly("a", "s", 1) == "other"
    assert ledger.claim_assembly("a", "s", 2) == "again"
    assert ledger.claim_assembly("a", "next", 1) == "new"


def test_segments_come_in_the_order_of_their_shards(tmp_path: object) -> None:
    ledger = Ledger.open_or_resume(str(tmp_path), IDENTITY)
    for shard in (10, 2, 0):
        ledger.commit_segment("a", a_segment(shard))
    assert list(ledger.segments("a")) == [0, 2, 10]
    assert ledger.segments("b") == {}
    storage.write_bytes(f"{ledger.uri}/segments/a/3.mkv", b"media beside the records")
    assert list(ledger.segments("a")) == [0, 2, 10]


def test_done_reads_each_row_once(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.open_or_resume(str(tmp_path), IDENTITY)
    read: list[str] = []
    read_bytes = local.read_bytes

    def counted(uri: str) -> bytes:
        read.append(uri)
        return read_bytes(uri)

    monkeypatch.setattr(local, "read_bytes", counted)
    for clip in ("a", "b.json", "c"):
        ledger.commit_clip(a_result(clip))
        assert ledger.done()[clip] == a_result(clip)
    assert len(read) == 3
    assert set(ledger.done()) == {"a", "b.json", "c"}
    assert Ledger(ledger.out, ledger.run).is_done("b.json")
    assert not ledger.is_done("b")
    assert len(read) == 3


def test_rows_hold_plain_values(tmp_path: object) -> None:
    np = pytest.importorskip("numpy")
    ledger = Ledger.open_or_resume(str(tmp_path), IDENTITY)
    measured = {"psnr": float("inf"), "n": np.int64(3), "f": np.float32("nan")}
    ledger.commit_clip(a_result(**measured))
    assert ledger.done()["a"] == a_result(psnr=None, n=3, f=None)


@pytest.mark.parametrize("clip", ["", "..", ".a", "a/b", "a\\b", "a\0", "é", "a" * 129])
def test_unsafe_names_never_become_paths(tmp_path: object, clip: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        Ledger(str(tmp_path), "20260101T000000-abcdef").commit_clip(a_result(clip))


def test_an_ended_run_keeps_attempts_at_faulty_clips_only(store_root: str) -> None:
    ledger = Ledger.open_or_resume(store_root, IDENTITY)
    for clip in ("bad", "good"):
        for shard in range(2):
            ledger.begin_shard(clip, shard, worker())
        ledger.commit_segment(clip, a_segment())
        ledger.claim_assembly(clip, "s", 0)
        ShardProgress(ledger, clip, 0, pause=0)(3)
    ledger.finish({"exit_code": 1})
    ledger.tidy({"bad"})
    names = sorted(uri.removeprefix(f"{ledger.uri}/") for uri in storage.listing(ledger.uri))
    assert names == [
        "assembly/bad/s.json", "attempts/bad/0-1.json", "attempts/bad/1-1.json",
        "progress/bad/0.json", "run.json",
        "segments/bad/0.json", "segments/good/0.json", "summary.json",
    ]  # fmt: skip
    assert [attempt["shard"] for attempt in ledger.attempts("bad")] == [0, 1]
