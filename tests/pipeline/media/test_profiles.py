"""Profiles: what a clip cannot have is refused before any work."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.media import profiles
from pipeline.media.profiles import (
    FORMS,
    check_profiles,
    is_regular,
    refusal,
    timecode_for,
    times_of,
)
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import PROFILES, Recipe, parse_recipe
from tests.support.media.derived import PAL, master
from tests.support.media.media_factory import Clip, Sound, write_clip
from tests.support.published import publish, settings_for


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
    turned = replace(probe, rotation=90, display=(0, 256, -256, 0))
    told = {
        "odd size": refusal(access, replace(probe, width=255), "progressive"),
        "less than": refusal(mxf, replace(probe, height=100), "progressive"),
        "18.000 frames": refusal(mxf, replace(probe, fps=Fraction(18)), "progressive"),
        "rotation": refusal(mxf, turned, "progressive"),
        "matrix unspecified": refusal(mxf, replace(probe, colorspace=2), "progressive"),
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
