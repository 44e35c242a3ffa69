"""What every test gets: quiet libraries, random numbers of its own, footage where it lies."""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

SESSION = "ARCHIVE_RESTORE_TESTS"  # process id of these tests, in the environment of all they start
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
pytest.register_assert_rewrite("tests.support")  # before a test imports it or names it a plugin


@pytest.fixture(autouse=True)
def same_random_numbers() -> Iterator[None]:
    """Seeds global generators for the test and restores them after it."""
    states = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    torch_state = torch.get_rng_state() if torch else None
    random.seed(0)
    np.random.seed(0)
    if torch:
        torch.manual_seed(0)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    if torch:
        torch.set_rng_state(torch_state)


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Undoes what a test leaves in the environment: a later Ray would take it up."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True, scope="session")
def no_ray_is_left() -> Iterator[None]:
    """Fails the last test if a central process of a Ray that a test started has not ended."""
    os.environ[SESSION] = str(os.getpid())
    yield
    left = [process for process in psutil.process_iter() if _is_ours(process)]
    _, alive = psutil.wait_procs(left, timeout=10)
    begun = {process: process.environ().get("PYTEST_CURRENT_TEST") for process in alive}
    for process in alive:
        process.kill()
    assert begun == {}


def _is_ours(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        named = process.name() in ("gcs_server", "raylet")
        ended = process.status() == psutil.STATUS_ZOMBIE
        return named and not ended and process.environ().get(SESSION) == str(os.getpid())
    return False


@pytest.fixture
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is exact, whatever this machine's CPU multiplies."""
    monkeypatch.setattr("models.network.precision.on_cpu", lambda: False)


@pytest.fixture(scope="session")
def footage() -> Path:
    """The folder with real footage (train/, valid/, archive/) that ARCHIVE_RESTORE_DATA names."""
    folder = Path(os.environ.get("ARCHIVE_RESTORE_DATA", ""))
    if not os.environ.get("ARCHIVE_RESTORE_DATA") or not folder.is_dir():
        pytest.skip("ARCHIVE_RESTORE_DATA names no folder")
    return folder.resolve()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked gpu is skipped without a GPU, and fails where one is expected."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        missing = pytest.fail if os.environ.get("FAIL_WITHOUT_CUDA") == "1" else pytest.skip
        missing("needs a GPU")
