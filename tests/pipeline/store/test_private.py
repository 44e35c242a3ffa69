"""Private folders: made for this user alone, and refused if anybody else could reach them."""

import os
import re
from pathlib import Path

import pytest

from pipeline.store import private
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason
from tests.support.environment.other_user import UID, as_other_user, intrude, needs_root


def test_a_private_folder_is_made_once_with_mode_0700(shared_temp: Path) -> None:
    folder = private.private_folder("sources")
    assert folder == shared_temp / f"ar-{os.geteuid()}-sources"
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "kept").touch()
    assert private.private_folder("sources") == folder
    assert (folder / "kept").exists()


def test_a_link_a_file_and_an_open_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    for name, why in {
        "link": "is a link",
        "dangling": "is a link",
        "file": "is not a folder",
        "open": "has the mode 0755 instead of 0700",
    }.items():
        place = tmp_path / name
        with pytest.raises(ArchiveError, match=re.escape(f"{place} {why}")) as caught:
            private.make_private(place)
        assert caught.value.exit_code == 2
        assert "remove it, or set TMPDIR" in str(caught.value)
        assert not private.is_private(place)


def test_a_place_that_takes_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="cannot be made: Not a directory; set TMPDIR"):
        private.make_private(tmp_path / "file" / "in")


@needs_root
def test_another_user_can_do_nothing_with_it(shared_temp: Path) -> None:
    folder = private.private_folder("sources")
    (folder / "secret").write_text("secret")
    (shared_temp / "open").mkdir()
    (shared_temp / "open").chmod(0o777)
    assert intrude(folder, folder / "secret") == []
    assert intrude(shared_temp / "open") == ["list", "write"]  # the test itself can see


@needs_root
def test_what_another_user_made_first_is_refused(shared_temp: Path) -> None:
    planted = shared_temp / f"ar-{os.geteuid()}-sources"
    as_other_user("os.mkdir(sys.argv[1], 0o700)", str(planted))
    with pytest.raises(ArchiveError, match=f"belongs to the user {UID}, not to the user 0"):
        private.private_folder("sources")


def test_work_on_a_clip_in_an_open_folder_ends_as_a_fault_of_the_machine(
    shared_temp: Path,
) -> None:
    with private.temporary("shard-") as folder:
        assert Path(folder).parent == shared_temp / f"ar-{os.geteuid()}-work"
    Path(folder).parent.chmod(0o755)
    with pytest.raises(ClipFault, match="mode 0755") as caught:
        private.temporary("shard-")
    assert caught.value.reason is Reason.ACCESS_DENIED
