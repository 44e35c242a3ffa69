"""Derived files of a published clip: their content, their record, PREMIS, bag and policy."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import av
import pytest
from typer.testing import CliRunner

from jobs import cli
from pipeline.media.profiles import (
    FORMS,
)
from pipeline.proof.bag import BagOptions, check_bag, make_bag
from schemas.policy import load_policy
from schemas.recipe import Recipe
from tests.support.media.derived import PAL
from tests.support.media.media_factory import Clip, write_clip
from tests.support.media.seen import look, sounds
from tests.support.premis_schema import breaches, texts
from tests.support.published import publish, settings_for


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a published PAL clip with all it can have; not to be touched."""
    work = tmp_path_factory.mktemp("profiles")
    write_clip(work / "reel.mkv", PAL)
    recipe = Recipe(profiles=("preservation", "mezzanine", "access"), access_label="Restored")
    publish(work, work / "reel.mkv", settings_for(work, recipe))
    return work / "out" / "clips" / "reel"


def record_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "reel_rst.mkv.json").read_bytes()))


def chapters(path: Path) -> list[tuple[Fraction, str]]:
    with av.open(str(path)) as container:
        return [(c["start"] * c["time_base"], c["metadata"]["title"]) for c in container.chapters()]


def timecode(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.video[0].metadata["timecode"]


def streams_of(folder: Path, profile: str) -> list[dict[str, Any]]:
    return next(d["streams"] for d in record_of(folder)["derived"] if d["profile"] == profile)


def test_a_mezzanine_keeps_fields_time_colour_and_sound(published: Path) -> None:
    master, made = (look(published / f"reel_rst{s}") for s in (".mkv", "_mz.mov"))
    assert (made.size, made.sar, made.planar) == ((128, 96), Fraction(16, 15), "yuv422p10le")
    assert (made.order, made.flagged) == (2, [True] * 9)
    assert (made.colour, made.full_range, made.fps) == ((5, 6, 5), False, 25)
    assert made.seconds == master.seconds == [Fraction(i, 25) for i in range(9)]
    assert made.sounds[0][:2] == master.sounds[0][:2]  # bit for bit
    assert made.sounds[1][0] == "pcm_s24le"
    path = published / "reel_rst_mz.mov"
    assert timecode(path) == "10:00:00:12"
    assert chapters(path) == [(0, "Eins"), (Fraction(1, 5), "Zwei")]
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.profile == "HQ"
        assert container.metadata["title"] == "Film"
        assert container.metadata["RESTORATION"].startswith("AI-assisted restoration")
        assert container.streams.audio[0].metadata["name"] == "Ton"


def test_flac_becomes_pcm_of_the_same_samples(published: Path) -> None:
    def whole(path: Path) -> bytes:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="s32", layout="stereo", rate=48000)
            frames = container.decode(container.streams.audio[1])
            return b"".join(g.to_ndarray().tobytes() for f in frames for g in resampler.resample(f))

    assert whole(published / "reel_rst_mz.mov") == whole(published / "reel_rst.mkv")


def test_access_shows_every_field_as_a_frame(published: Path) -> None:
    path = published / "reel_rst_sc.mp4"
    made = look(path)
    assert (made.planar, made.sar, made.size) == ("yuv420p", Fraction(16, 15), (128, 96))
    assert made.seconds == [Fraction(i, 50) for i in range(18)]
    assert made.fps == 50 and not any(made.flagged)
    assert (made.colour, made.full_range) == ((5, 6, 5), False)
    assert [codec for codec, *_ in sounds(path)] == ["aac", "aac"]
    assert timecode(path) == "10:00:00:24"
    assert chapters(path) == [(0, "Eins"), (Fraction(1, 5), "Zwei")]
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        held = [bytes(p)[2:] for p in container.demux(container.streams.subtitles[0]) if p.size > 2]
    assert [text.decode() for text in held] == ["Erste Zeile", "Zweite"]


def test_nothing_is_dropped_or_converted_without_a_word(published: Path) -> None:
    told = [(s["kind"], s["action"], s["note"]) for s in streams_of(published, "mezzanine")]
    assert told == [
        ("audio", "kept", ""),
        ("audio", "converted", "became pcm_s24le"),
        ("subtitle", "converted", "became MP4 text"),
        ("attachment", "dropped", "ProRes 422 HQ in QuickTime cannot hold notes.txt"),
    ]
    told = [(s["kind"], s["action"]) for s in streams_of(published, "access")]
    assert told[:2] == [("scan", "converted"), ("samples", "converted")]


def test_the_record_proves_derived_files_and_tells_of_every_rule(published: Path) -> None:
    record = record_of(published)
    assert {"reel_rst_mz.mov", "reel_rst_sc.mp4"} < record["files"].keys()
    assert [d["file"] for d in record["derived"]] == ["reel_rst_mz.mov", "reel_rst_sc.mp4"]
    assert all(d["psnr_db"] > FORMS[d["profile"]].floor_db for d in record["derived"])
    assert list(record["policies"]) == ["preservation", "mezzanine", "access"]
    for profile, rules in record["policies"].items():
        assert [rule["rule"] for rule in rules] == [rule.name for rule in load_policy(profile)]
        assert all(rule["passed"] for rule in rules)


def test_premis_links_derived_files_to_the_restored_one(published: Path) -> None:
    root = ET.fromstring((published / "reel_rst.mkv.premis.xml").read_bytes())
    assert breaches(root) == []
    files = record_of(published)["files"]
    names = ("reel_rst.mkv", "reel_rst_mz.mov", "reel_rst_sc.mp4")
    assert texts(root, "fixity/messageDigest")[1:] == [files[name]["sha256"] for name in names]
    subtypes = texts(root, "relationshipSubType")
    assert subtypes == ["is source of", "has source", *["is source of"] * 2, *["has source"] * 2]
    assert texts(root, "eventType")[-4:] == ["creation", "validation"] * 2
    notes = texts(root, "eventOutcomeInformation/eventOutcomeDetail/eventOutcomeDetailNote")
    assert ["'Restored' is drawn" in note for note in notes[-4:]] == [False, False, False, True]
    linked = texts(root, "relatedEventIdentifier/relatedEventIdentifierValue")
    assert set(linked) <= set(texts(root, "eventIdentifier/eventIdentifierValue"))


@pytest.mark.parametrize("name", ["reel_rst_mz.mov", "reel_rst_sc.mp4"])
def test_verify_names_a_flipped_byte_in_a_derived_file(
    published: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "reel"))
    assert invoke("verify", folder / name).exit_code == 0
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    result = invoke("verify", folder)
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0].startswith(f"{folder / name}: its SHA-256 is")
    assert result.stdout.count("\n") == 2


def test_a_bag_holds_derived_files(published: Path, tmp_path: Path) -> None:
    bag = make_bag("reel", str(published.parents[1]), tmp_path / "bags", BagOptions())
    assert (bag / "data" / "reel_rst_sc.mp4").is_file()
    assert check_bag(str(bag)).faults == []


def test_the_command_tells_pass_fail_and_error_apart(published: Path, tmp_path: Path) -> None:
    file = published / "reel_rst_sc.mp4"
    result = invoke("policy", file)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("pass  ") == len(load_policy("access"))
    result = invoke("policy", file, "--policy", "mezzanine", "--json")
    told = json.loads(result.stdout)
    failed = [rule["rule"] for rule in told["files"][0]["rules"] if not rule["passed"]]
    assert (result.exit_code, told["exit_code"]) == (3, 3)
    assert "coded as ProRes" in failed and "index before the pictures" not in failed
    (tmp_path / "no.mp4").write_bytes(b"no film" * 99)
    for arguments in ((tmp_path / "no.mp4", "--policy", "access"), (tmp_path / "gone_rst.mkv",),
                      (file, "--policy", "none"), (tmp_path / "no.mp4",)):  # fmt: skip
        result = invoke("policy", *arguments)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1, arguments


def test_a_later_recipe_without_a_profile_leaves_no_file_of_it(tmp_path: Path) -> None:
    write_clip(tmp_path / "reel.mkv", Clip(frames=2))
    folder = tmp_path / "out" / "clips" / "reel"
    for recipe in (Recipe(profiles=("preservation", "access")), Recipe()):
        publish(tmp_path, tmp_path / "reel.mkv", settings_for(tmp_path, recipe))
    assert not (folder / "reel_rst_sc.mp4").exists()
    assert list(record_of(folder)["policies"]) == ["preservation"]


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
