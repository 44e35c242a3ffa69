"""Checks of a machine and of an output folder, before a run starts there."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from schemas.errors import ArchiveError

Verdict = Literal["ok", "warn", "fail"]

# packages that a run needs, with the licence that each distribution states or bundles
PACKAGES = {
    "ray": "Apache-2.0",
    "torch": "BSD-3-Clause",
    "av": "BSD-3-Clause; its wheel bundles FFmpeg with GPL parts (libx264, libx265)",
    "numpy": "BSD-3-Clause",
    "opencv-python-headless": "Apache-2.0",
    "pyarrow": "Apache-2.0",
    "duckdb": "MIT",
    "boto3": "Apache-2.0",
    "imageio-ffmpeg": "BSD-2-Clause; its wheel carries a GPL FFmpeg, run as a separate process",
}
OPTIONAL = {"imageio-ffmpeg"}  # for evaluation only
DISK_WARN_GB = 20  # a minute of standard-definition FFV1 takes about half a gigabyte
MEMORY_WARN_GB = 4
RACERS = 8  # threads that try to create one file at the same time
_NO_TOKEN = "no token for Ray clusters; local runs need none"


@dataclass(frozen=True)
class Check:
    """The result of one check: what was found, and whether it is a problem."""

    name: str
    verdict: Verdict
    detail: str

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def examine(out: str | None = None) -> list[Check]:
    """Return the checks of this machine and, with ``out``, of the storage there."""
    checks = [
        python(),
        *packages(),
        processor(),
        memory(),
        _guarded("accelerator", accelerator),
        disk(Path(tempfile.gettempdir())),
        _guarded("weights", weights),
        _guarded("decoder", decoder),
        _guarded("sandbox", sandbox),
        _guarded("token", token),
    ]
    if out is not None:
        checks.append(_guarded("storage", lambda: storage(out)))
        if "://" not in out:
            checks.append(_guarded("room", lambda: disk(_existing(Path(out)), "room")))
    return checks


def describe_checks(checks: list[Check]) -> str:
    """Return the checks for a person. Problems come last, where they are seen."""
    width = max(len(check.name) for check in checks)
    order = {"ok": 0, "warn": 1, "fail": 2}
    ranked = sorted(checks, key=lambda check: order[check.verdict])
    return "\n".join(f"{c.verdict:<4}  {c.name:<{width}}  {c.detail}" for c in ranked)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """Run a check. An error of a library or a store becomes a failed check, not a crash."""
    try:
        return check()
    except (ArchiveError, ImportError, OSError, RuntimeError, ValueError) as error:
        return Check(name, "fail", " ".join(str(error).split()))


def python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def packages() -> Iterator[Check]:
    for name, licence in PACKAGES.items():
        try:
            yield Check(name, "ok", f"{importlib.metadata.version(name)} ({licence})")
        except importlib.metadata.PackageNotFoundError:
            where = "pip install 'archive-restore[evaluate]'" if name in OPTIONAL else "reinstall"
            yield Check(name, "warn" if name in OPTIONAL else "fail", f"not installed: {where}")


def processor() -> Check:
    """Check the usable cores, and the vector instructions that decide the speed of a CPU run."""
    text = ""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    flags = set(text.split())
    wide = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{cores} cores, {platform.machine()}" + (f", {' '.join(wide)}" if wide else "")
    slow = platform.machine() == "x86_64" and bool(text) and "avx2" not in flags
    return Check("processor", "warn" if slow else "ok", detail + (": no AVX2, slow" * slow))


def memory() -> Check:
    """Check the memory that the kernel reports as available. A container may allow less."""
    fields: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            name, _, rest = line.partition(":")
            fields[name] = int(rest.split()[0])
    available = fields.get("MemAvailable", 0) / 2**20
    verdict: Verdict = "warn" if available < MEMORY_WARN_GB else "ok"
    return Check("memory", verdict, f"{available:.1f} GiB available")


def accelerator() -> Check:
    """Name the device that the model will run on. A missing GPU is no fault."""
    from models.network.checkpoint import device_default

    device = str(device_default())
    if device == "cpu":
        return Check("accelerator", "ok", "no GPU: the model runs on the processor")
    query = "--query-gpu=name,memory.total,driver_version"
    question = ["nvidia-smi", query, "--format=csv,noheader"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=20, check=True)
        cards = "; ".join(answer.stdout.strip().splitlines())
    except (OSError, subprocess.SubprocessError):
        cards = "nvidia-smi does not answer"
    return Check("accelerator", "ok", f"{device}: {cards}")


def decoder() -> Check:
    """Name the FFmpeg that PyAV bundles and its licence, as FFmpeg reports them."""
    from pipeline.media.segments import ffmpeg_licence

    version, licence = ffmpeg_licence()
    return Check("decoder", "ok", f"FFmpeg {version}, {licence}, runs in its own process")


def sandbox() -> Check:
    """Name the walls that stand around the decoder's process here, and those that are missing."""
    from pipeline.media.sandbox import require_walls
    from pipeline.media.walls.raised import WALLS

    if lacking := require_walls():
        return Check("sandbox", "warn", lacking)
    return Check("sandbox", "ok", f"all walls stand around the decoder: {', '.join(WALLS)}")


def token() -> Check:
    """Check for a token for Ray clusters, and that no other user can read its file."""
    set_names = {n for n in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(n)}
    default = Path.home() / ".ray" / "auth_token"
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or default)
    if "RAY_AUTH_TOKEN" not in set_names and not file.is_file():
        missing = f"RAY_AUTH_TOKEN_PATH names a file that does not exist: {file}"
        return Check("token", "fail", missing) if set_names else Check("token", "ok", _NO_TOKEN)
    if "RAY_AUTH_TOKEN" in set_names:
        return Check("token", "ok", "for Ray clusters, from RAY_AUTH_TOKEN")
    if file.stat().st_mode & 0o077:
        return Check("token", "warn", f"other users can read {file}: run `chmod 600 {file}`")
    return Check("token", "ok", f"for Ray clusters, from {file}")


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def disk(folder: Path, name: str = "disk") -> Check:
    """Check the free space, for temporary files or for published files."""
    free = shutil.disk_usage(folder).free / 2**30
    verdict: Verdict = "warn" if free < DISK_WARN_GB else "ok"
    return Check(name, verdict, f"{free:.0f} GiB free in {folder}")


def weights() -> Check:
    """Check that the weights of the default recipe's model have the pinned SHA-256."""
    from models.network.checkpoint import pinned, sha256, shipped
    from schemas.recipe import Recipe

    size = Recipe().model
    found, expected = sha256(shipped(size)), pinned(size)
    if found != expected:
        return Check("weights", "fail", f"{size}: sha256 {found}, but {expected} is pinned")
    return Check("weights", "ok", f"{size}: sha256 {found}, as pinned")


def storage(out: str) -> Check:
    """Check that exclusive creation works. Without it two workers could commit one clip twice."""
    from pipeline.store import layout
    from pipeline.store import storage as store
    from pipeline.store.address import is_s3

    folder = layout.trial_folder(out, uuid.uuid4().hex)
    target, moving = (layout.trial_file(folder, name) for name in ("claim", "moving"))
    created = None if is_s3(out) or Path(out).exists() else Path(out)
    try:
        with ThreadPoolExecutor(RACERS) as pool:
            wins = list(pool.map(lambda n: store.create(target, b"%d" % n), range(RACERS)))
        store.write_bytes(moving, b"one")
        store.write_bytes(moving, b"two")
        kept = store.read_bytes(target) == b"%d" % wins.index(True) if any(wins) else False
        faults = {
            f"{sum(wins)} of {RACERS} exclusive writers succeeded instead of 1": sum(wins) != 1,
            "the bytes of the exclusive writer were overwritten": not kept,
            "a read after an overwrite returned the old bytes": store.read_bytes(moving) != b"two",
            "a listing does not show new objects": len(list(store.listing(folder))) != 2,
        }
    finally:
        with contextlib.suppress(ArchiveError):
            store.delete(target)
            store.delete(moving)
        if not is_s3(out):
            shutil.rmtree(folder, ignore_errors=True)
        if created is not None:
            shutil.rmtree(created, ignore_errors=True)
    found = [sentence for sentence, wrong in faults.items() if wrong]
    if found:
        return Check("storage", "fail", f"{out}: " + "; ".join(found))
    return Check("storage", "ok", f"{out}: exclusive creation, overwriting and listing work")
