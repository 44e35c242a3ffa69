"""Bags: valid for bagit-python, whole or not there, made of what was published and nothing else."""

import hashlib
import json
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import bagit
import pytest
from typer.testing import CliRunner

from jobs import cli
from pipeline.proof.bag import BagOptions, check_bag, make_bag
from pipeline.store import storage
from tests.support.media.media_factory import Clip, write_clip
from tests.support.published import publish, settings_for

pytest_plugins = ("tests.support.environment.s3",)

PAYLOAD = [
    f"data/reel_rst.mkv{suffix}" for suffix in ("", ".framemd5", ".json", ".premis.xml", ".sha256")
]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sources and out/, where two clips are published; not to be touched."""
    work = tmp_path_factory.mktemp("package")
    settings = settings_for(work)
    for name in ("reel", "reel-2"):
        write_clip(work / f"{name}.mkv", Clip(frames=3))
        publish(work, work / f"{name}.mkv", settings, collection="news\nreels")
    return work


@pytest.fixture
def out(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master / "out", tmp_path / "out"))


@pytest.fixture
def bag(master: Path, tmp_path: Path) -> Path:
    return make_bag("reel", str(master / "out"), tmp_path / "bags", BagOptions())


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_a_bag_is_valid_and_says_what_it_is(out: Path, tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    result = invoke(
        "package", "reel", "reel-2", "--out", out, "--to", bags,
        "--organization", "The Archive",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == f"bag: {bags}/reel\nbag: {bags}/reel-2\n"
    bag = bagit.Bag(str(bags / "reel"))
    assert bag.validate() is True
    assert sorted(bag.payload_entries()) == PAYLOAD
    assert {path.name for path in (bags / "reel").iterdir()} == {
        "bag-info.txt", "bagit.txt", "data", "manifest-sha256.txt", "tagmanifest-sha256.txt"
    }  # fmt: skip
    for name in PAYLOAD:
        original = out / "clips" / "reel" / name.removeprefix("data/")
        assert (bags / "reel" / name).read_bytes() == original.read_bytes()
    size = sum((bags / "reel" / name).stat().st_size for name in PAYLOAD)
    record = json.loads((bags / "reel" / "data" / "reel_rst.mkv.json").read_bytes())
    source = record["row"]["source_uri"]
    assert bag.info == {
        "Source-Organization": "The Archive",
        "External-Identifier": "reel",
        "External-Description": f"AI-assisted restoration; not the original; source {source}",
        "Bag-Group-Identifier": "newsreels",
        "Internal-Sender-Identifier": record["row"]["run"],
        "Bag-Software-Agent": "archive-restore 0.1.0, bagit.py 1.9.0",
        "Bagging-Date": date.today().isoformat(),
        "Payload-Oxum": f"{size}.5",
    }
    assert bag.version_info == (1, 0)
    assert sorted(os.listdir(bags)) == ["reel", "reel-2"]  # nothing half made is left


def test_a_package_holds_the_source_and_sha512_on_request(out: Path, tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    more = ("--with-source", "--sha512", "--json")
    result = invoke("package", "reel", "--out", out, "--to", bags, *more)
    told = json.loads(result.stdout)
    assert told == {"bags": [str(bags / "reel")], "faults": [], "exit_code": 0}
    bag = bagit.Bag(str(bags / "reel"))
    assert bag.validate() is True
    assert sorted(bag.algorithms) == ["sha256", "sha512"]
    assert "data/source/reel.mkv" in bag.payload_entries()
    record = json.loads((bags / "reel" / "data" / "reel_rst.mkv.json").read_bytes())
    packed = (bags / "reel" / "data" / "source" / "reel.mkv").read_bytes()
    assert hashlib.sha256(packed).hexdigest() == record["source_sha256"]


def test_all_that_is_wrong_is_said_before_anything_is_made(out: Path, tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    (bags / "reel-2").mkdir(parents=True)
    result = invoke("package", "reel", "reel-2", "gone", "../reel", "--out", out, "--to", bags)
    assert result.exit_code == 2
    assert result.stderr == (
        f"archive-restore: {bags}/reel-2 exists; gone is not published in {out}; "
        "'../reel' is no clip id\n"
    )
    assert os.listdir(bags) == ["reel-2"]
    result = invoke("package", "reel", "--out", out, "--to", "s3://bucket/bags")
    assert result.exit_code == 2 and "is no folder on a disk" in result.stderr


def test_a_clip_named_twice_is_packed_once_also_into_a_relative_folder(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("package", "reel", "reel", "--out", "out", "--to", "bags")
    assert (result.exit_code, result.stdout) == (0, "bag: bags/reel\n")
    assert bagit.Bag("bags/reel").is_valid()


@pytest.mark.parametrize("suffix", ["", ".framemd5", ".json", ".premis.xml", ".sha256"])
def test_a_damaged_clip_is_not_packed_and_its_neighbour_is(
    out: Path, tmp_path: Path, suffix: str
) -> None:
    damaged = out / "clips" / "reel" / f"reel_rst.mkv{suffix}"
    flip(damaged, 40)
    bags = tmp_path / "bags"
    result = invoke("package", "reel", "reel-2", "--out", out, "--to", bags)
    assert result.exit_code == 3
    assert f"reel was not packed: {damaged}: " in result.stderr
    assert os.listdir(bags) == ["reel-2"]
    assert bagit.Bag(str(bags / "reel-2")).is_valid()


def test_a_source_that_has_changed_or_gone_is_not_packed(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=3))
    publish(tmp_path, source, settings_for(tmp_path))
    bags, arguments = tmp_path / "bags", ("package", "reel", "--out", tmp_path / "out")
    flip(source, 500)
    result = invoke(*arguments, "--to", bags, "--with-source")
    assert result.exit_code == 3 and f"{source}: its SHA-256 is" in result.stderr
    source.unlink()
    result = invoke(*arguments, "--to", bags, "--with-source", "--json")
    sentence = f"NOT_FOUND: {source} does not exist"
    assert json.loads(result.stdout)["faults"] == [{"clip_id": "reel", "sentence": sentence}]
    assert os.listdir(bags) == []
    assert invoke(*arguments, "--to", bags).exit_code == 0


@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("name", PAYLOAD)
def test_one_flipped_byte_in_a_payload_is_found(bag: Path, name: str, where: float) -> None:
    flip(bag / name, int((bag / name).stat().st_size * where))
    assert not bagit.Bag(str(bag)).is_valid()
    result = invoke("verify", bag)
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0].startswith(f"{bag / name}: its sha256 is ")
    assert len(result.stdout.splitlines()) == 2


def test_any_flipped_byte_of_a_tag_file_is_found(bag: Path) -> None:
    """But for the tag manifest, which nothing covers."""
    assert check_bag(str(bag)).faults == []
    for path in (bag / "bag-info.txt", bag / "bagit.txt", bag / "manifest-sha256.txt"):
        data = path.read_bytes()
        for at in range(0, len(data), 5):
            flip(path, at)
            assert check_bag(str(bag)).faults, f"{path.name}, byte {at}"
            path.write_bytes(data)
    assert check_bag(str(bag)).faults == []


def test_missing_truncated_and_unlisted_files_are_named(bag: Path) -> None:
    restored = bag / "data" / "reel_rst.mkv"
    data = restored.read_bytes()
    restored.write_bytes(data[:-10])
    assert [(f.uri, f.problem) for f in check_bag(str(bag)).faults] == [(str(restored), "altered")]
    restored.unlink()
    (bag / "data" / "stray").write_text("x")
    faults = {(fault.uri, fault.problem) for fault in check_bag(str(bag)).faults}
    assert faults == {(str(restored), "missing"), (str(bag / "data" / "stray"), "unexpected")}
    restored.write_bytes(data)
    (bag / "data" / "stray").unlink()
    assert check_bag(str(bag)).faults == []


def test_a_wrong_sum_is_found_where_no_manifest_covers_it(bag: Path) -> None:
    (bag / "tagmanifest-sha256.txt").unlink()
    info = bag / "bag-info.txt"
    info.write_text(info.read_text().replace("Payload-Oxum: ", "Payload-Oxum: 1"))
    faults = check_bag(str(bag)).faults
    assert [fault.uri for fault in faults] == [str(bag)]
    assert "Payload-Oxum" in faults[0].sentence


def test_two_manifests_make_one_line_a_file(master: Path, tmp_path: Path) -> None:
    bag = make_bag("reel", str(master / "out"), tmp_path, BagOptions(sha512=True))
    flip(bag / PAYLOAD[0], 100)
    assert [fault.uri for fault in check_bag(str(bag)).faults] == [str(bag / PAYLOAD[0])]


def test_a_folder_of_bags_is_verified_bag_by_bag(master: Path, tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    for clip in ("reel", "reel-2"):
        make_bag(clip, str(master / "out"), bags, BagOptions())
    flip(bags / "reel-2" / PAYLOAD[0].replace("reel", "reel-2"), 9)
    told = json.loads(invoke("verify", bags, "--json").stdout)
    assert (told["checked"], told["files"], told["exit_code"]) == (2, 10, 3)
    assert [fault["uri"] for fault in told["faults"]] == [f"{bags}/reel-2/data/reel-2_rst.mkv"]


def test_packed_from_a_real_object_store(master: Path, tmp_path: Path, s3_prefix: str) -> None:
    for path in (master / "out").glob("clips/reel/*"):
        storage.upload(path, f"{s3_prefix}/clips/reel/{path.name}")
    result = invoke("package", "reel", "--out", s3_prefix, "--to", tmp_path / "bags")
    assert result.exit_code == 0, result.output
    assert bagit.Bag(str(tmp_path / "bags" / "reel")).is_valid()
    result = invoke("package", "gone", "--out", s3_prefix, "--to", tmp_path / "bags")
    assert result.exit_code == 2 and f"gone is not published in {s3_prefix}" in result.stderr
