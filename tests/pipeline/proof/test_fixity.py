"""Verifying what was published: any damage to any file is found, and found in its file."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.commands.package import examine
from pipeline.proof.fixity import check_published, published_files
from pipeline.proof.record import sealed, unsealed
from pipeline.store import storage
from schemas.errors import ArchiveError
from tests.support.media.media_factory import Clip, write_clip
from tests.support.published import publish, settings_for

pytest_plugins = ("tests.support.environment.s3",)

NAMES = ("", ".framemd5", ".sha256", ".premis.xml", ".json")


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with two published clips; not to be touched."""
    work = tmp_path_factory.mktemp("fixity")
    settings = settings_for(work)
    for name, frames in (("reel", 5), ("reel-2", 3)):
        source = work / f"{name}.mkv"
        write_clip(source, Clip(frames=frames, tags={"title": name}))
        publish(work, source, settings)
    return work / "out"


@pytest.fixture
def out(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "out"))


def reel(out: Path, suffix: str = "") -> Path:
    return out / "clips" / "reel" / f"reel_rst.mkv{suffix}"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_an_untouched_folder_is_as_published(out: Path) -> None:
    result = invoke("verify", out, "--decode")
    assert result.exit_code == 0, result.output
    assert result.stdout == "10 files of 2 clips, 0 MB: all unchanged\n"
    told = json.loads(invoke("verify", out, "--json").stdout)
    size = sum(path.stat().st_size for path in out.glob("clips/*/*") if path.suffix != ".json")
    assert told == {
        "checked": 2, "files": 10, "bytes": size, "decoded": False, "faults": [], "exit_code": 0
    }  # fmt: skip


@pytest.mark.parametrize("where", [0.0, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("suffix", NAMES)
def test_one_flipped_byte_is_found_in_its_file(out: Path, suffix: str, where: float) -> None:
    path = reel(out, suffix)
    flip(path, int(path.stat().st_size * where))
    result = invoke("verify", out)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{path}: ")
    assert lines[1].endswith("1 damaged")


@pytest.mark.parametrize("suffix", NAMES)
def test_a_missing_file_is_named(out: Path, suffix: str) -> None:
    reel(out, suffix).unlink()
    result = invoke("verify", out, "--json")
    assert result.exit_code == 3
    faults = json.loads(result.stdout)["faults"]
    assert [(fault["uri"], fault["problem"]) for fault in faults] == [
        (str(reel(out, suffix)), "missing")
    ]


def test_a_file_that_lost_everything_beside_it_is_still_looked_at(out: Path) -> None:
    for suffix in NAMES[1:]:
        reel(out, suffix).unlink()
    assert str(reel(out)) in list(published_files(str(out)))
    assert invoke("verify", out).exit_code == 3


def test_a_truncated_and_a_grown_file_are_told_by_their_size(out: Path) -> None:
    size = reel(out).stat().st_size
    reel(out).write_bytes(reel(out).read_bytes()[:-1])
    assert f"it has {size - 1} bytes, {size} were published" in invoke("verify", out).stdout
    with reel(out).open("ab") as stream:
        stream.write(b"12")
    assert f"it has {size + 1} bytes, {size} were published" in invoke("verify", out).stdout


def test_a_file_that_cannot_be_read_does_not_stop_the_rest(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(out / "clips" / "reel-2" / "reel-2_rst.mkv", 100)
    real: Callable[[Path], str] = storage.sha256_file

    def failing(path: Path) -> str:
        with storage.local.faults(Path(path)):
            if path.name == "reel_rst.mkv":
                raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(storage, "sha256_file", failing)
    faults = json.loads(invoke("verify", out, "--json").stdout)["faults"]
    assert sorted(fault["problem"] for fault in faults) == ["altered", "unreadable"]


def reseal(out: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record as someone would who knows how it is sealed."""
    record = unsealed(reel(out, ".json").read_bytes())
    del record["record_sha256"]
    change(record)
    reel(out, ".json").write_bytes(sealed(record))


def relist(out: Path, lines: list[str]) -> None:
    """Replace the .framemd5, and its digest in the record."""
    path = reel(out, ".framemd5")
    path.write_text("\n".join(lines) + "\n")

    def change(record: dict[str, Any]) -> None:
        entry = record["files"][path.name]
        entry["size"] = path.stat().st_size
        entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    reseal(out, change)


def test_decoding_finds_the_frame_that_differs(out: Path) -> None:
    lines = reel(out, ".framemd5").read_text().splitlines()
    lines[-2] = lines[-2][:-1] + ("0" if lines[-2][-1] != "0" else "1")
    relist(out, lines)
    assert invoke("verify", out).exit_code == 0
    result = invoke("verify", out, "--decode")
    assert result.exit_code == 3
    sentence = "frame 3 decodes to another picture than published"
    assert result.stdout.splitlines()[0] == f"{reel(out)}: {sentence}"


def test_decoding_counts_frames(out: Path) -> None:
    lines = reel(out, ".framemd5").read_text().splitlines()
    relist(out, [*lines, lines[-1]])
    assert "1 frames fewer than published" in invoke("verify", out, "--decode").stdout
    relist(out, lines[:-1])
    assert "frame 4 decodes to another picture" in invoke("verify", out, "--decode").stdout


def test_decoding_tells_of_a_file_that_no_decoder_reads(out: Path) -> None:
    reel(out).write_bytes(b"no film" * 100)
    faults = json.loads(invoke("verify", out, "--decode", "--json").stdout)["faults"]
    assert [fault["problem"] for fault in faults] == ["altered", "undecodable"]
    lines = invoke("verify", out, "--decode").stdout.splitlines()
    assert len(lines) == 2 and lines[0].startswith(f"{reel(out)}: it has 700 bytes")


def test_decoding_keeps_to_the_limits_of_the_clip_whatever_else_its_recipe_says(out: Path) -> None:
    """A record of another version may know limits and settings that this one does not."""

    def change(record: dict[str, Any]) -> None:
        record["recipe"] |= {"invented": 1}
        record["recipe"]["limits"] |= {"max_pixels": 256, "max_heat": 5}

    assert invoke("verify", out, "--decode").exit_code == 0
    reseal(out, change)
    faults = json.loads(invoke("verify", out, "--decode", "--json").stdout)["faults"]
    assert [fault["problem"] for fault in faults] == ["undecodable"]


def test_a_record_without_digests_proves_nothing(out: Path) -> None:
    reseal(out, lambda record: record.pop("files"))
    assert "it has no digests of the files beside it" in invoke("verify", out).stdout


def test_a_record_cannot_lead_out_of_its_folder(out: Path) -> None:
    secret = out / "secret"
    secret.write_text("x")

    def change(record: dict[str, Any]) -> None:
        record["files"]["../../secret"] = {"size": 1, "sha256": "0" * 64}

    reseal(out, change)
    faults = check_published(str(reel(out))).faults
    assert [fault.uri for fault in faults] == [str(reel(out).with_name("secret"))]


@pytest.mark.parametrize("path", ["clips", "clips/reel", "clips/reel/reel_rst.mkv"])
def test_any_part_of_the_output_can_be_named(out: Path, path: str) -> None:
    found = list(examine(str(out / path)))
    assert str(reel(out)) in [checked.uri for checked in found]
    assert not [fault for checked in found for fault in checked.faults]
    assert len(found) == (2 if path == "clips" else 1)


def test_a_folder_with_nothing_to_verify_is_a_mistake(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", "s3://"):
        result = invoke("verify", path)
        assert result.exit_code in (2, 3) and result.stderr.count("\n") == 1
    assert invoke("verify", tmp_path).exit_code == 2
    with pytest.raises(ArchiveError, match="holds no published clip and no bag"):
        list(examine(str(tmp_path)))


def test_the_same_on_a_real_object_store(master: Path, tmp_path: Path, s3_prefix: str) -> None:
    for path in master.glob("clips/reel/*"):
        storage.upload(path, f"{s3_prefix}/out/clips/reel/{path.name}")
    result = invoke("verify", f"{s3_prefix}/out", "--decode")
    assert (result.exit_code, result.stdout[:19]) == (0, "5 files of 1 clips,")
    damaged = tmp_path / "damaged"
    shutil.copy(reel(master, ".premis.xml"), damaged)
    flip(damaged, 300)
    uri = f"{s3_prefix}/out/clips/reel/reel_rst.mkv.premis.xml"
    storage.upload(damaged, uri)
    result = invoke("verify", f"{s3_prefix}/out")
    assert result.exit_code == 3 and result.stdout.startswith(f"{uri}: its SHA-256 is")


def test_memory_does_not_grow_with_the_file(out: Path) -> None:
    """A file of 256 MiB is hashed within 8 MiB."""
    import tracemalloc

    big = reel(out)
    with big.open("ab") as stream:
        stream.truncate(big.stat().st_size + 2**28)
    tracemalloc.start()
    try:
        check_published(str(big))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**23
