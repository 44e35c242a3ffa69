"""A checkpoint in parts: whole, or refused."""

import subprocess
from pathlib import Path

import pytest
import torch

from models.training import parts

CPU = torch.device("cpu")


def saved(folder: Path, value: float) -> list[Path]:
    parts.save({"step": 3, "weights": torch.full((3000,), value)}, folder, part_bytes=4096)
    return sorted(folder.glob("*.part"))


def test_parts_are_small_and_make_the_whole(tmp_path: Path) -> None:
    assert not parts.exists(tmp_path)
    saved(tmp_path, 1.0)
    files = saved(tmp_path, 2.0)  # in place of the first
    assert len(files) == 4 and max(path.stat().st_size for path in files) == 4096
    found = parts.load(tmp_path, CPU)
    assert found["step"] == 3 and torch.equal(found["weights"], torch.full((3000,), 2.0))
    subprocess.run(["sha256sum", "--check", "--quiet", parts.LIST], cwd=tmp_path, check=True)


def test_a_checkpoint_that_was_not_finished_leaves_the_one_before(tmp_path: Path) -> None:
    saved(tmp_path / "one", 1.0)
    for path in saved(tmp_path / "two", 2.0)[:2]:  # the next one's first parts, and no list
        path.rename(tmp_path / "one" / path.name)
    assert parts.load(tmp_path / "one", CPU)["weights"].mean() == 1


@pytest.mark.parametrize("fault", ["is missing", "does not have its SHA-256"])
def test_a_damaged_part_is_refused_and_named(tmp_path: Path, fault: str) -> None:
    part = saved(tmp_path, 1.0)[1]
    if fault == "is missing":
        part.unlink()
    else:
        content = bytearray(part.read_bytes())
        content[100] ^= 1
        part.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{part.name} {fault}.*Copy the folder again"):
        parts.load(tmp_path, CPU)
