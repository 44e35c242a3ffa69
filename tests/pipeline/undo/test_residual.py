"""The source's pictures come back, bit for bit, from the restored file and its residual alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.media.decoder import Decoder
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record
from pipeline.undo import residual as undo
from pipeline.undo.residual import added, difference, has_none, recover, write_residual
from pipeline.undo.revert import revert_clip
from pipeline.undo.selection import Request
from schemas.errors import ArchiveError, ClipFault
from schemas.exit_codes import ExitCode
from schemas.recipe import Limits, Recipe
from tests.support.command_line import invoke
from tests.support.media.media_factory import Clip, Sound, write_clip
from tests.support.media.seen import look
from tests.support.published import publish, settings_for

CLIPS = {
    "film": Clip(frames=4, sounds=(Sound("pcm_s16le"),), tags={"TITLE": "a reel"}),
    "tape": Clip(frames=4, width=96, height=64, pix_fmt="yuv422p10le", scan="tff", field_order=2),
}
ASKED = Recipe(residual=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two published clips with residuals; not to be touched."""
    folder = tmp_path_factory.mktemp("residual")
    for name, clip in CLIPS.items():
        write_clip(folder / f"{name}.mkv", clip)
        settings = settings_for(folder, ASKED)
        publish(folder, folder / f"{name}.mkv", settings, changed=3, erased=1)
    return folder


def master(out: str | Path, name: str = "film") -> str:
    return f"{out}/clips/{name}/{name}_rst.mkv"


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_any_samples_come_back(bits: int) -> None:
    rng, dtype = np.random.default_rng(bits), np.uint8 if bits == 8 else np.uint16
    one, other = (rng.integers(0, 1 << bits, (2, 40, 60)).astype(dtype) for _ in range(2))
    one[0, 0, :2], other[0, 0, :2] = (0, (1 << bits) - 1), ((1 << bits) - 1, 0)
    rest = difference(tuple(one), tuple(other), bits)
    assert all(plane.dtype == dtype and plane.max() < 1 << bits for plane in rest)
    assert np.array_equal(np.stack(added(tuple(other), rest, bits)), one)
    (same,) = difference((one[0],), (one[0],), bits)
    assert (same == 1 << (bits - 1)).all()


@pytest.mark.parametrize("name", CLIPS)
def test_the_source_comes_back_without_the_source(name: str, work: Path, tmp_path: Path) -> None:
    source, out = look(work / f"{name}.mkv"), str(shutil.copytree(work / "out", tmp_path / "out"))
    assert look(Path(master(out, name))).md5s != source.md5s
    shutil.rmtree(Path(out, "runs"))  # the ledger, and with it the survey
    to = tmp_path / "source.mkv"
    told = invoke("recover", name, "--out", out, "--to", str(to))
    assert told.exit_code == 0, told.output
    assert f"{CLIPS[name].frames} frames, bit for bit those of the source" in told.stdout
    found = look(to)
    assert found.md5s == source.md5s
    assert (found.planar, found.order, found.sar) == (source.planar, source.order, source.sar)
    assert (found.sounds, found.size) == (source.sounds, source.size)
    with av.open(str(to)) as container:
        assert [key for key in container.metadata if key.startswith("RESTORATION")] == []
        assert "RECOVERED_FROM" in container.metadata
        assert container.metadata.get("title") == CLIPS[name].tags.get("TITLE")
    assert check_published(master(out, name)).faults == []
    again = invoke("recover", name, "--out", out, "--to", str(to))
    assert again.exit_code == ExitCode.USAGE and "give a new file" in again.stderr


def test_after_a_revert_it_comes_back_too(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow
    out = str(shutil.copytree(work / "out", tmp_path / "out"))
    before = read_record(master(out))
    revert_clip("film", out, Request(frames=range(1, 2)))
    after = read_record(master(out))
    name = "film_rst.mkv.residual.mkv"
    assert after["files"][name] != before["files"][name]
    assert after["residual"] == before["residual"]  # the same source
    assert check_published(master(out)).faults == []
    recover("film", out, tmp_path / "source.mkv")
    assert look(tmp_path / "source.mkv").md5s == look(work / "film.mkv").md5s


def test_what_is_altered_or_not_there_is_refused(work: Path, tmp_path: Path) -> None:
    out = str(shutil.copytree(work / "out", tmp_path / "out"))
    to, rest = tmp_path / "source.mkv", Path(f"{master(out)}.residual.mkv")
    data = bytearray(rest.read_bytes())
    data[len(data) // 2] ^= 1
    rest.write_bytes(data)
    assert [fault.uri for fault in check_published(master(out)).faults] == [str(rest)]
    with pytest.raises(ArchiveError, match=r"residual\.mkv differs from its record"):
        recover("film", out, to)
    record = read_record(master(out))
    del record["residual"]
    with pytest.raises(ArchiveError, match="film has no residual"):
        undo._refuse("film", out, record, restricted=False)
    record = read_record(master(out))
    record["row"]["access_class"] = "restricted"
    with pytest.raises(ArchiveError, match="film is restricted"):
        undo._refuse("film", out, record, restricted=False)
    undo._refuse("film", out, record, restricted=True)
    assert not to.exists()


def test_a_residual_that_does_not_fit_is_not_published(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.undo.published import published

    survey = published("film", str(work / "out")).survey
    copy = Path(shutil.copy(master(work / "out"), tmp_path / "film_rst.mkv"))
    monkeypatch.setattr(undo, "difference", lambda source, restored, bits: restored)
    with pytest.raises(ClipFault, match="does not give the source's frames"):
        write_residual(work / "film.mkv", copy, survey, ASKED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film_rst.mkv"]
    filled = replace(survey, fill=[1])
    assert has_none(filled) and write_residual(work / "film.mkv", copy, filled, ASKED) is None
    with Decoder(copy, Limits()) as decoder:
        assert sum(1 for _ in decoder) == 4
