"""The embedded Ray: what it leaves on the disk, and who can reach it while it runs."""

import itertools
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray
from ray._private import services

from pipeline import ray_runtime
from pipeline.runs.closing import Devices
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode
from tests.support.command_line import wait_for
from tests.support.environment.other_user import UID, as_other_user, intrude, needs_root

WRITABLE = "print(*(path for path in sys.argv[1:] if os.access(path, os.W_OK)), sep='\\n')"


def session() -> Path:
    return Path(ray._private.worker._global_node.get_session_dir_path())


def look() -> tuple[list[str], str]:
    return sys.path, os.getcwd()


@pytest.mark.slow
def test_nobody_else_reaches_the_files_of_ray_and_none_is_left(shared_temp: Path) -> None:
    with ray_runtime.cluster(None):
        folder = session()
        path, where = ray.get(ray.remote(look).remote())
        files = [file for file in folder.rglob("*") if file.is_file() or file.is_socket()]
        assert folder.is_relative_to(shared_temp / f"ar-{os.geteuid()}-ray")
        assert Path(where).is_relative_to(folder) and os.listdir(where) == []
        if os.geteuid() == 0:
            assert files and intrude(folder, *files) == []
            assert intrude(Path(where)) == []
            assert as_other_user(WRITABLE, *path).split() == []
    assert not folder.exists()
    kept = shared_temp / f"ar-{os.geteuid()}-ray"
    assert [file.name for file in kept.iterdir()] == ["logs"]  # for the case that a worker died
    assert list((kept / "logs").glob("gcs_server*"))


@needs_root
@pytest.mark.slow
def test_ray_does_not_start_in_a_folder_of_another_user(shared_temp: Path) -> None:
    as_other_user("os.mkdir(sys.argv[1], 0o700)", str(shared_temp / "ar-0-ray"))
    with (
        pytest.raises(ArchiveError, match=f"ar-0-ray belongs to the user {UID}"),
        ray_runtime.cluster(None),
    ):
        pass
    assert not ray.is_initialized()


def test_a_ray_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def slow(*arguments: object, **options: object) -> None:
        tries.append(1)
        raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(ArchiveError, match="Ray did not start in 3 tries") as caught:
        ray_runtime._start_embedded({})
    assert len(tries) == 3 and caught.value.exit_code == ExitCode.FAILED


# A driver that is killed once its gcs_server has been forked, and before that asks for its own end.
KILLED_EARLY = """
import os, signal, sys, time
from pathlib import Path
from ray._private import utils
from pipeline import ray_runtime
driver, ask = os.getpid(), utils.set_kill_on_parent_death_linux
def late():
    Path(sys.argv[1]).write_text(str(os.getpid()))
    os.kill(driver, signal.SIGKILL)
    while os.getppid() == driver:
        time.sleep(0.01)
    ask()
utils.set_kill_on_parent_death_linux = late
with ray_runtime.cluster(None):
    pass
"""


@pytest.mark.slow
def test_nothing_of_ray_outlives_a_driver_that_is_killed_while_it_starts(tmp_path: Path) -> None:
    at = tmp_path / "pid"
    driver = subprocess.run([sys.executable, "-c", KILLED_EARLY, str(at)], timeout=100)
    assert driver.returncode == -signal.SIGKILL
    wait_for(at.exists, 10)
    with suppress(psutil.NoSuchProcess):
        gcs = psutil.Process(int(at.read_text()))
        try:
            wait_for(lambda: not gcs.is_running() or gcs.status() == psutil.STATUS_ZOMBIE, 10)
        finally:
            gcs.kill()


@pytest.mark.slow
def test_a_start_that_failed_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, tries = services.get_node, itertools.count()

    def late(*arguments: object) -> object:
        if next(tries) == 0:
            raise Exception("The current node timed out during startup. This could happen because")
        return ask(*arguments)

    monkeypatch.setattr(services, "get_node", late)
    with ray_runtime.cluster(None):
        names = [process.name() for process in psutil.Process().children()]
    assert names.count("gcs_server") == names.count("raylet") == 1, names


def test_memory_is_shared_by_the_workers_that_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    def room(*nodes: dict[str, float]) -> int:
        found = [{"Alive": True, "Resources": resources} for resources in nodes]
        dead = {"Alive": False, "Resources": {"memory": 1.0, "GPU": 8.0, "CPU": 8.0}}
        monkeypatch.setattr(ray_runtime, "_nodes", lambda: [*found, dead])
        return ray_runtime.RayNodes().room()

    small, large = {"memory": 8e9, "CPU": 4.0}, {"memory": 12e9, "CPU": 4.0}
    assert room(large, small) == 2e9
    # With GPUs, the nodes that have none restore nothing. Two shards share a GPU.
    assert room(large | {"GPU": 2.0}, small) == 3e9
    assert ray_runtime.RayNodes.gpu_share == 0.5
    assert (Devices(2, 4).shards, Devices(2, 4).number) == (4, 2)
    assert (Devices(0, 4).shards, Devices(0, 4).number) == (4, 4)


def test_the_path_of_a_socket_is_never_too_long(shared_temp: Path) -> None:
    long = shared_temp / ("x" * 60)
    for temp, base in ((shared_temp, shared_temp), (long, Path("/tmp"))):
        with ray_runtime.session_folder(temp) as folder:
            assert folder.parent == base / f"ar-{os.geteuid()}-ray"
            session = "session_2026-11-30_01-48-48_123456_4194304"
            assert len(str(folder / session / "sockets" / "plasma_store.10").encode()) <= 107
        assert not folder.exists()


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ray" / "auth_token"


def test_the_token_that_ray_would_write_for_everybody_is_written_for_this_user(token: Path) -> None:
    ray_runtime.protect_token()
    assert len(token.read_text()) >= 32 and token.stat().st_mode & 0o777 == 0o600
    before = token.read_text()
    ray_runtime.protect_token()
    assert token.read_text() == before


def test_a_token_that_others_can_read_is_closed_and_the_log_says_so(
    token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    ray_runtime.protect_token()
    assert token.stat().st_mode & 0o777 == 0o600 and token.read_text() == "secret"
    assert f"other users could read {token}" in caplog.text and "secret" not in caplog.text


@needs_root
def test_a_token_of_another_user_is_refused(token: Path) -> None:
    token.parent.mkdir()
    token.write_text("secret")
    os.chown(token, UID, UID)
    with pytest.raises(ArchiveError, match=f"belongs to the user {UID}; remove it"):
        ray_runtime.protect_token()
