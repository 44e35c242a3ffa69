"""Signatures: C2PA's own reader validates them, and one other byte fails them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pipeline.proof.credentials import validated
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record, sealed
from pipeline.proof.signing_key import SigningKey
from pipeline.runs import audit
from pipeline.runs.settings import Settings
from pipeline.store import storage
from pipeline.undo import publishing, signing
from pipeline.undo.revert import revert_clip
from pipeline.undo.review import review_clip
from pipeline.undo.selection import Request
from pipeline.undo.signing import sign_clip
from schemas.errors import ArchiveError
from schemas.recipe import Recipe
from tests.support.certificates import Signer, signer
from tests.support.command_line import invoke
from tests.support.environment.failing import Killed, Mortal
from tests.support.media.media_factory import Clip, write_clip
from tests.support.premis_schema import breaches, texts
from tests.support.published import publish, settings_for

c2pa = pytest.importorskip("c2pa")
MASTER, ACCESS = "reel_rst.mkv", "reel_rst_sc.mp4"


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with a clip that has an access copy; not to be touched."""
    work = tmp_path_factory.mktemp("unsigned")
    write_clip(work / "reel.mkv", Clip(frames=6))
    recipe = Recipe(profiles=("preservation", "access"))
    publish(work, work / "reel.mkv", settings_for(work, recipe), 5, 3)
    return work / "out"


@pytest.fixture(scope="module")
def signed_once(unsigned: Path, mine: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, signed; not to be touched."""
    out = tmp_path_factory.mktemp("signed") / "out"
    shutil.copytree(unsigned, out)
    sign_clip("reel", str(out), SigningKey.load(mine.key, mine.chain))
    return out


@pytest.fixture
def out(signed_once: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(signed_once, tmp_path / "out"))


def place(out: str | Path) -> Path:
    return Path(out, "clips", "reel")


def state(out: str | Path, anchors: bytes = b"") -> tuple[str, str]:
    """What the reader says of the master and of the access copy."""
    folder = place(out)
    detached = validated(folder / MASTER, folder / f"{MASTER}.c2pa", anchors)
    return detached.state, validated(folder / ACCESS, anchors=anchors).state


def active(reader: Any) -> dict[str, Any]:
    plain = json.loads(reader.json())
    return dict(plain["manifests"][plain["active_manifest"]])


def test_the_librarys_own_reader_validates_both_kinds(signed_once: Path, mine: Signer) -> None:
    assert state(signed_once) == ("Valid", "Valid")
    assert state(signed_once, mine.anchor.read_bytes()) == ("Trusted", "Trusted")
    folder = place(signed_once)
    with c2pa.Reader(str(folder / ACCESS)) as reader:  # as anybody would read it
        assert reader.is_embedded()
        assert reader.get_validation_state() == "Valid"


def test_another_authority_is_not_trusted(signed_once: Path, tmp_path: Path) -> None:
    other = signer(tmp_path / "other").anchor.read_bytes()
    found = validated(place(signed_once) / ACCESS, anchors=other)
    assert not found.valid and "signingCredential.untrusted" in found.problems


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 1.0])
def test_one_flipped_byte_fails_it(out: str, part: float) -> None:
    folder = place(out)
    for name in (MASTER, ACCESS):
        data = bytearray((folder / name).read_bytes())
        first = data.find(b"moov") if name == ACCESS else 0  # after the type and the manifest
        data[first + round(part * (len(data) - 1 - first))] ^= 1
        (folder / name).write_bytes(data)
    assert {"Valid", "Trusted"}.isdisjoint(state(out))


def test_one_flipped_byte_of_the_manifest_fails_it(out: str) -> None:
    path = place(out) / f"{MASTER}.c2pa"
    data = bytearray(path.read_bytes())
    data[data.find(b"c2pa.enhanced")] ^= 1
    path.write_bytes(data)
    assert not validated(place(out) / MASTER, path).valid


def test_the_manifest_tells_extent_type_region_and_purpose(signed_once: Path) -> None:
    folder = place(signed_once)
    record = read_record(str(folder / MASTER))
    with c2pa.Reader(str(folder / ACCESS)) as reader:
        told = active(reader)
    (ingredient,) = told["ingredients"]
    assert ingredient["instance_id"] == f"urn:sha256:{record['source_sha256']}"
    assert (ingredient["title"], ingredient["relationship"]) == ("reel.mkv", "parentOf")
    (assertion,) = (one for one in told["assertions"] if one["label"] == "c2pa.actions.v2")
    opened, restored, derived = assertion["data"]["actions"]
    assert opened["action"] == "c2pa.opened"
    assert restored["digitalSourceType"].endswith("/algorithmicallyEnhanced")
    facts, row = restored["parameters"], record["row"]
    assert facts["extent"]["frames_changed"] == row["frames_changed"] == 5
    assert facts["type"] and facts["purpose"] and facts["region"]["repaired"] == 0
    assert facts["recipe_sha256"] == row["recipe_sha256"]
    assert (
        {one["rule"] for one in facts["rules_broken"]}
        == {one["rule"] for one in row["finding_rows"]}
        != set()
    )
    assert derived["parameters"]["restored_file_sha256"] == row["output_sha256"]


def test_a_signature_is_on_record(out: str, unsigned: Path) -> None:
    master = str(place(out) / MASTER)
    checked = check_published(master, decode=True)
    assert (checked.faults, checked.files) == ([], 7)
    record = read_record(master)
    assert record["signed"]["manifests"] == {MASTER: f"{MASTER}.c2pa", ACCESS: "embedded"}
    assert (place(unsigned) / MASTER).read_bytes() == Path(master).read_bytes()
    root = ET.fromstring(storage.read_bytes(f"{master}.premis.xml"))
    assert breaches(root) == []
    assert texts(root, "eventType").count("digital signature generation") == 2
    assert record["signed"]["subject"] in texts(root, "agentName")
    assert audit.verify(out).broken is None
    assert (
        storage.read_bytes(master.replace(MASTER, ACCESS))
        != (place(unsigned) / ACCESS).read_bytes()
    )


def test_signed_again_only_when_asked(out: str, mine: Signer) -> None:
    key, master = SigningKey.load(mine.key, mine.chain), str(place(out) / MASTER)
    before = storage.read_bytes(f"{master}.json")
    assert not sign_clip("reel", out, key).new
    assert storage.read_bytes(f"{master}.json") == before
    assert sign_clip("reel", out, key, again=True).new
    assert state(out) == ("Valid", "Valid")
    assert check_published(master).faults == []


def test_a_revert_takes_the_signatures_away(
    reel: tuple[Path, Settings], mine: Signer, tmp_path: Path
) -> None:
    out = str(shutil.copytree(reel[0] / "out", tmp_path / "out"))
    master = str(place(out) / MASTER)
    sign_clip("reel", out, SigningKey.load(mine.key, mine.chain))
    assert Path(f"{master}.c2pa").exists()
    revert_clip("reel", out, Request())
    assert not Path(f"{master}.c2pa").exists()
    assert "signed" not in read_record(master)
    assert check_published(master).faults == []


def test_an_access_copy_that_came_later_is_signed_as_well(out: str, mine: Signer) -> None:
    key, master = SigningKey.load(mine.key, mine.chain), str(place(out) / MASTER)
    record = read_record(master)
    record["recipe"]["access_copies"] = "accepted"
    storage.write_bytes(f"{master}.json", sealed(record))
    review_clip("reel", out, "question", note="b")
    assert list(read_record(master)["signed"]["manifests"]) == [MASTER]
    assert not sign_clip("reel", out, key).new
    review_clip("reel", out, "accept")
    assert sign_clip("reel", out, key).new
    assert state(out) == ("Valid", "Valid")
    assert check_published(master).faults == []


def test_killed_at_any_point_the_clip_is_signed_or_not(
    unsigned: Path, mine: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, made = str(shutil.copytree(unsigned, tmp_path / "out")), list[publishing.Commit]()

    def killed(out: str, work: publishing.Commit) -> None:
        made.append(work)
        raise Killed

    monkeypatch.setattr(signing, "commit", killed)
    with pytest.raises(Killed):
        sign_clip("reel", out, SigningKey.load(mine.key, mine.chain))
    assert check_published(str(place(out) / MASTER)).faults == []
    for lives in range(99):  # the writes at which the process ends
        folder = str(shutil.copytree(out, tmp_path / f"killed-{lives}"))
        plain = json.loads(made[0].to_json()) | {"uri": str(place(folder) / MASTER)}
        publishing.commit(folder, publishing.Commit(**plain))
        try:
            publishing.finish(folder, Mortal(lives))
        except Killed:
            publishing.finish(folder)
        else:
            break
        assert check_published(str(place(folder) / MASTER)).faults == []
        assert state(folder) == ("Valid", "Valid")
    assert lives > 5


def test_a_damaged_file_is_not_signed(unsigned: Path, mine: Signer, tmp_path: Path) -> None:
    out = str(shutil.copytree(unsigned, tmp_path / "out"))
    with (place(out) / ACCESS).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArchiveError, match=r"reel was not signed: .*sc\.mp4: it has"):
        sign_clip("reel", out, SigningKey.load(mine.key, mine.chain))
    assert "signed" not in read_record(str(place(out) / MASTER))


def test_the_key_is_checked(mine: Signer, tmp_path: Path) -> None:
    open_key = tmp_path / "open.key"
    open_key.write_bytes(mine.key.read_bytes())
    open_key.chmod(0o640)
    late, other = signer(tmp_path / "late", days=0), signer(tmp_path / "other")
    for key, chain, sentence in (
        (open_key, mine.chain, "can be read by others"),
        (tmp_path / "none.key", mine.chain, "cannot be read: No such file"),
        (mine.key, tmp_path, "cannot be read|is no regular file"),
        (mine.key, other.chain, "is not that of the key"),
        (late.key, late.chain, "not today"),
        (mine.key, mine.key, "is no certificate in PEM"),
    ):
        with pytest.raises(ArchiveError, match=sentence):
            SigningKey.load(key, chain)
    loaded = SigningKey.load(mine.key, mine.chain)
    assert "PRIVATE" not in repr(loaded) and loaded.algorithm == "es256"


def test_the_command_signs_all_and_verify_checks_the_manifests(
    unsigned: Path, mine: Signer, tmp_path: Path
) -> None:
    out = str(shutil.copytree(unsigned, tmp_path / "out"))
    keys = ("--key", str(mine.key), "--certificate", str(mine.chain))
    assert invoke("sign", "--out", out, *keys).exit_code == 2
    told = invoke("sign", "--all", "--out", out, *keys)
    assert told.exit_code == 0, told.output
    assert told.stdout == "reel: 2 files signed\n"
    anchors = ("--anchors", str(mine.anchor))
    checked = invoke("verify", out, *anchors)
    assert checked.exit_code == 0, checked.output
    assert "2 manifests" in checked.stdout
    assert invoke("verify", str(unsigned), *anchors).exit_code == 3
