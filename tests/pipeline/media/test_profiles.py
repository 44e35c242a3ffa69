"""Derived files: made of the verified master, verified, held to their policy, proved."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import av
import pytest
from typer.testing import CliRunner

from jobs import cli
from pipeline.clip.frames import Probe, to_ms
from pipeline.media import deriver, profiles
from pipeline.media.decoder import Decoder
from pipeline.media.deriver import Derived, derive
from pipeline.media.profiles import (
    FORMS,
    check_profiles,
    is_regular,
    refusal,
    timecode_for,
    times_of,
)
from pipeline.media.sandbox import Child
from pipeline.proof.bag import BagOptions, check_bag, make_bag
from schemas import policy
from schemas.errors import ArchiveError, ClipFault
from schemas.policy import OPERATORS, Rule, load_policy
from schemas.reasons import Reason
from schemas.recipe import PROFILES, Limits, Recipe, parse_recipe
from tests.pipeline.proof.test_premis import breaches, texts
from tests.support.media_factory import Clip, Sound, write_clip
from tests.support.published import publish, settings_for
from tests.support.seen import Seen, look, sounds

LIMITS = Limits()
PAL = Clip(
    pix_fmt="yuv422p10le",
    width=128,
    height=96,
    frames=9,
    scan="tff",
    field_order=2,
    sar=Fraction(16, 15),
    colour=(1, 5, 6, 5),
    sounds=(
        Sound("pcm_s24le", 1, tags={"language": "ger", "title": "Ton"}),
        Sound("flac", 2, tags={"language": "eng"}),
    ),
    captions=[(80, 120, "Erste Zeile"), (240, 100, "Zweite")],
    chapters=[(0, 200, "Eins"), (200, 360, "Zwei")],
    attachments=[("notes.txt", "text/plain", b"from the can")],
    tags={"title": "Film"},
    video_tags={"timecode": "10:00:00:12"},
)


PLAIN = Clip(frames=4, width=128, height=96)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a published PAL clip with all it can have; not to be touched."""
    work = tmp_path_factory.mktemp("profiles")
    write_clip(work / "reel.mkv", PAL)
    recipe = Recipe(profiles=("preservation", "mezzanine", "access"))
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


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


# ---- policies ------------------------------------------------------------------------------------


def test_a_broken_rule_fails_by_name_and_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(policy.POLICIES, tmp_path / "policies"))
    strict = folder / "access.toml"
    strict.write_text(strict.read_text().replace('"High"', '"Baseline"'))
    monkeypatch.setattr(policy, "POLICIES", folder)
    write_clip(tmp_path / "reel.mkv", Clip(frames=3))
    settings = settings_for(tmp_path, Recipe(profiles=("preservation", "access")))
    with pytest.raises(ClipFault, match=r"reel_rst_sc\.mp4 breaks access: profile High") as caught:
        publish(tmp_path, tmp_path / "reel.mkv", settings)
    assert caught.value.reason is Reason.POLICY_FAIL
    assert "expected = 'Baseline'" in str(caught.value)
    assert not (tmp_path / "out" / "clips").exists()


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


@pytest.mark.parametrize(
    ("operator", "expected", "passing", "failing"),
    [
        ("=", 3, 3, 4), ("!=", 3, 4, 3), (">=", 3, 3, 2), ("<=", 3, 3, 4), ("in", [1, 2], 2, 3),
        ("contains", "b", "abc", "ac"), ("all =", 2, [2, 2], [2, 3]),
        ("all start with", "pcm_", ["pcm_s16le"], ["pcm_s16le", "aac"]),
    ],
)  # fmt: skip
def test_operators(operator: str, expected: Any, passing: Any, failing: Any) -> None:
    rule = Rule("r", "f", operator, expected)
    assert rule.check({"f": passing}).passed and not rule.check({"f": failing}).passed
    assert not rule.check({}).passed


def test_presence_and_what_cannot_be_compared() -> None:
    assert Rule("r", "f", "present").check({"f": 0}).passed
    assert not Rule("r", "f", "present").check({}).passed
    assert Rule("r", "f", "absent").check({}).passed
    assert not Rule("r", "f", "absent").check({"f": 0}).passed
    with pytest.raises(ArchiveError, match="rule 'r'"):
        Rule("r", "f", ">=", 3).check({"f": "x"})
    assert set(OPERATORS) >= {rule.operator for name in PROFILES for rule in load_policy(name)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no \\[\\[rule\\]\\]"),
        ("[[rule]]\nname = 'a'", "needs name, field, operator"),
        ("[[rule]]\nname='a'\nfield='f'\noperator='~'\nexpected=1", "unknown operator '~'"),
        ("[[rule]]\nname='a'\nfield='f'\noperator='present'\nexpected=1", "expected"),
        ("[[rule]]\nname='a'\nfield='f'\noperator='='", "expected"),
        ("rule", "policy"),
    ],
)
def test_a_wrong_policy_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ArchiveError, match=sentence):
        load_policy(str(tmp_path / "p.toml"))


# ---- what a profile can hold ---------------------------------------------------------------------


def master(folder: Path, clip: Clip) -> tuple[Path, Probe, list[int]]:
    path = folder / "clip_rst.mkv"
    write_clip(path, clip)
    with Decoder(path, LIMITS) as decoder:
        return path, decoder.probe, [to_ms(f.pts, decoder.probe.time_base) for f in decoder]


def test_dnxhr_in_mxf_keeps_picture_aspect_and_length(tmp_path: Path) -> None:
    clip = replace(
        PAL, scan="progressive", field_order=1, width=256, height=128, frames=5, captions=[],
        attachments=[], chapters=[(0, 120, "Eins")], tags={"RESTORATION": "yes"},
    )  # fmt: skip
    path, _, times = master(tmp_path, replace(clip, sounds=clip.sounds[:1]))
    made = derive("mezzanine-mxf", path, "progressive", times, tmp_path, LIMITS)
    seen: Seen = look(made.path)
    assert (seen.sar, seen.order, seen.planar) == (Fraction(16, 15), 1, "yuv422p10le")
    assert seen.seconds == [Fraction(i, 25) for i in range(5)]
    with av.open(str(made.path)) as container:
        assert container.metadata["comment_RESTORATION"] == "yes"
        assert container.metadata["timecode"] == "10:00:00:12"
        assert container.streams.video[0].codec_context.profile == "DNXHR HQX"
        samples = sum(f.samples for f in container.decode(container.streams.audio[0]))
    assert samples == 48000 * 5 // 25
    told = {stream.kind: stream.action for stream in made.streams}
    assert told == {"audio": "converted", "chapters": "dropped"}


def test_varying_timestamps_are_real_ones(tmp_path: Path) -> None:
    at = [0, 40, 80, 140, 180, 300]
    clip = Clip(frames=6, pts=at, time_base=Fraction(1, 1000), width=128, height=96)
    path, probe, times = master(tmp_path, clip)
    assert not is_regular(times, probe.fps)
    made = derive("access", path, "progressive", times, tmp_path, LIMITS)
    assert look(made.path).seconds == [Fraction(ms, 1000) for ms in at]


def derived_access(tmp_path: Path) -> tuple[Path, list[int]]:
    path, _, times = master(tmp_path, PLAIN)
    return path, times


@pytest.mark.parametrize("harm", ["time", "count", "picture", "tag"])
def test_a_wrong_derived_file_is_found_and_removed(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child makes a file of another clip than the parent then compares with."""
    path, times = derived_access(tmp_path)
    real = deriver.ask
    wrong = {"time": {"pts": [0, 1, 2, 4]}, "count": {"frames": 3}, "picture": {"grain": 120},
             "tag": {"colour": (1, 1, 1, 1)}}[harm]  # fmt: skip

    def other(module: str, request: dict[str, Any], limits: Limits) -> Any:
        if module == "pipeline.media.child.derive":
            write_clip(tmp_path / "other.mkv", replace(PLAIN, **wrong))
            with Decoder(tmp_path / "other.mkv", LIMITS) as decoder:
                at = [to_ms(f.pts, decoder.probe.time_base) for f in decoder]
            same = {"probe": decoder.probe.to_dict(), "times_ms": at, "regular": False}
            request = {**request, "path": str(tmp_path / "other.mkv"), **same}
        return real(module, request, limits)

    monkeypatch.setattr(deriver, "ask", other)
    with pytest.raises(ClipFault) as caught:
        derive("access", path, "progressive", times, tmp_path, LIMITS)
    reason = Reason.FRAME_COUNT if harm == "count" else Reason.VERIFY_MISMATCH
    said = {"time": "is at", "count": "3 frames, not 4", "picture": "dB", "tag": "primaries"}[harm]
    assert caught.value.reason is reason and said in str(caught.value)
    assert not (tmp_path / "clip_rst_sc.mp4").exists()


def test_what_a_profile_cannot_hold_is_told_before_any_work(tmp_path: Path) -> None:
    write_clip(tmp_path / "reel.mkv", replace(PAL, sounds=(), captions=[], width=256, height=128))
    recipe = parse_recipe("profiles = ['mezzanine-mxf']")
    with pytest.raises(ClipFault, match="interlaced, top field first") as caught:
        publish(tmp_path, tmp_path / "reel.mkv", settings_for(tmp_path, recipe))
    assert caught.value.reason is Reason.PROFILE_REFUSED
    assert not (tmp_path / "reel-segment.mkv").exists()


def test_refusals(tmp_path: Path) -> None:
    _, probe, _ = master(tmp_path, Clip(frames=2, width=256, height=128, colour=(1, 5, 6, 5)))
    mxf, access = FORMS["mezzanine-mxf"], FORMS["access"]
    assert refusal(mxf, probe, "progressive") == refusal(access, probe, "tff") == ""
    told = {
        "odd size": refusal(access, replace(probe, width=255), "progressive"),
        "less than": refusal(mxf, replace(probe, height=100), "progressive"),
        "18.000 frames": refusal(mxf, replace(probe, fps=Fraction(18)), "progressive"),
        "rotation": refusal(mxf, replace(probe, rotation=90), "progressive"),
        "matrix 2": refusal(mxf, replace(probe, colorspace=2), "progressive"),
        "bottom field": refusal(mxf, probe, "bff"),
        "7 channels as AAC": refusal(
            access, replace(probe, audio=("aac", "pcm_s16le"), channels=(7, 7)), "progressive"
        ),
    }
    assert all(part in sentence for part, sentence in told.items()), told
    many = replace(probe, audio=("aac", "pcm_s16le"), channels=(7, 6))  # AAC is copied
    assert refusal(access, many, "progressive") == ""
    with pytest.raises(ClipFault) as caught:
        check_profiles(PROFILES, probe, "progressive", regular=False)
    assert caught.value.reason is Reason.VFR_REFUSED


def test_sound_that_access_cannot_code_is_refused_before_any_work(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=4, sounds=(Sound("pcm_s16le", layout="6.1"),)))
    settings = settings_for(tmp_path, parse_recipe("profiles = ['access']"))
    with pytest.raises(ClipFault, match="a sound track of 7 channels as AAC") as caught:
        publish(tmp_path, source, settings)
    assert caught.value.reason is Reason.PROFILE_REFUSED
    assert not (tmp_path / "reel-segment.mkv").exists()


def test_times_and_timecodes_of_fields() -> None:
    assert times_of([0, 40, 100], 2) == [0, 20, 40, 70, 100, 130]
    assert times_of([7], 2) == [7, 7]
    assert timecode_for("01:00:00;14", 2) == "01:00:00;28"
    assert timecode_for("one", 1) is None and timecode_for(None, 2) is None
    assert is_regular([0, 33, 67, 100], Fraction(30000, 1001))
    assert profiles.standard_rate(Fraction(2997003, 100000)) == Fraction(30000, 1001)


def test_a_recipe_always_makes_the_master_and_lists_profiles_in_one_order() -> None:
    one = parse_recipe("profiles = ['access', 'mezzanine']")
    assert one.profiles == ("preservation", "mezzanine", "access")
    same = parse_recipe("profiles = ['mezzanine', 'preservation', 'access', 'access']")
    assert one.digest == same.digest != Recipe().digest
    assert parse_recipe(one.to_toml()) == one


def test_a_later_recipe_without_a_profile_leaves_no_file_of_it(tmp_path: Path) -> None:
    write_clip(tmp_path / "reel.mkv", Clip(frames=2))
    folder = tmp_path / "out" / "clips" / "reel"
    for recipe in (Recipe(profiles=("preservation", "access")), Recipe()):
        publish(tmp_path, tmp_path / "reel.mkv", settings_for(tmp_path, recipe))
    assert not (folder / "reel_rst_sc.mp4").exists()
    assert list(record_of(folder)["policies"]) == ["preservation"]


def test_a_request_longer_than_an_argument_reaches_the_child(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", Clip(frames=2))
    request = {"path": str(tmp_path / "a.mkv"), "limits": {}, "padding": "x" * 200_000}
    with Child("pipeline.media.child.inspect", request, LIMITS) as child:
        while (record := child.record(0))[0] != b"E":
            pass
    assert json.loads(record[1])["video.codec"] == "ffv1"


def test_derived_values_are_plain(tmp_path: Path) -> None:
    one = Derived("access", tmp_path / "x_rst_sc.mp4", 2, 40.0, 41.0, ())
    assert json.loads(json.dumps(one.to_dict()))["file"] == "x_rst_sc.mp4"
