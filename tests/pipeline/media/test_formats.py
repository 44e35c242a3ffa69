"""Every format that archives hold, written, restored at strength 0 and compared with itself.

An ordinary run takes the first pixel format of each form, interlaced where it can be;
`make test-media` (TEST_MEDIA=1) takes the whole matrix.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.media.formats import CODECS, SOUND, SOUND_REFUSED
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe
from tests.support.media.format_cases import FORMS, RANGES, FormatCase, every_case, few_cases
from tests.support.media.media_factory import Clip, write_clip
from tests.support.media.mediainfo import differences
from tests.support.media.seen import Seen, look
from tests.support.studio import Studio

CASES = every_case() if os.environ.get("TEST_MEDIA") == "1" else few_cases()
SHOWN = {"progressive": 0, "tff": 2, "bff": 3}
ORDERS = {"progressive": {1}, "tff": {2, 4}, "bff": {3, 5}}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"), Recipe(strength=0.0))


@pytest.mark.parametrize(("form", "clip"), [pytest.param(f, c, id=n) for n, f, c in CASES])
def test_a_format_survives_untouched(
    form: FormatCase, clip: Clip, studio: Studio, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = tmp_path / f"{request.node.callspec.id}.{form.suffix}"
    write_clip(source, clip)
    before = look(source)
    assert len(set(before.md5s)) == len(before.md5s) == clip.frames
    assert stated(before, clip) == set(form.states.split())
    restored = studio.publish(source)
    after = look(restored.path)
    assert after.md5s == before.md5s
    assert [line.split()[-1] for line in restored.framemd5.splitlines()[9:]] == before.md5s
    assert after.seconds == [Fraction(round(1000 * at), 1000) for at in before.seconds]
    # where the container states no field order, the lines show it
    order = before.order or SHOWN[clip.scan]
    assert after.order == order
    assert after.flagged == [order > 1] * clip.frames
    assert restored.survey.by_fields == (clip.scan != "progressive")
    for name in ("sar", "planar", "colour", "full_range", "size", "sounds"):
        assert getattr(after, name) == getattr(before, name), name
    assert abs(after.fps / before.fps - 1) < 1e-6
    assert len(after.sounds) == len(clip.sounds)
    assert differences(source, restored.path) <= set(form.odd.split())


def stated(seen: Seen, clip: Clip) -> set[str]:
    """What the file itself says of what the clip was written with."""
    facts = {
        "sar": seen.sar == clip.sar,
        "order": seen.order in ORDERS[clip.scan],
        "colour": seen.colour == clip.colour[1:],
        "range": seen.full_range == (clip.colour[0] == RANGES["full"]),
    }
    return {name for name, same in facts.items() if same}


def test_a_container_that_contradicts_its_pictures_is_held(studio: Studio, tmp_path: Path) -> None:
    form = FORMS["prores-mxf"]  # whose muxer states progressive whatever it gets
    drawn = replace(form.clip("yuv422p10le", "tff", "limited"), height=96)
    write_clip(tmp_path / "clip.mxf", drawn)
    assert look(tmp_path / "clip.mxf").order == 1
    with pytest.raises(ClipFault, match="declared progressive") as fault:
        studio.survey(tmp_path / "clip.mxf")
    assert fault.value.reason is Reason.SCAN_DISAGREES


def write_any(path: Path, codec: str, pix_fmt: str, sound: str | None = None) -> None:
    """Three gray frames of any pixel format; not the factory's, which draws planar ones only."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options={"strict": "-2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        track: Any = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for _ in range(3):
            frame = av.VideoFrame(64, 48, pix_fmt)
            for plane in frame.planes:
                np.frombuffer(plane, np.uint8)[:] = 60
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track:
            form = track.codec_context.format.name
            kind = {"u8p": np.uint8, "s16p": np.int16, "s16": np.int16, "u8": np.uint8}[form]
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 5760), kind), form, "mono")
            silence.sample_rate = 48000
            container.mux(track.encode(silence))
            container.mux(track.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "sound", "sentence"),
    [
        ("alpha.mkv", "ffv1", "yuva444p10le", None, "yuva444p10le has an alpha channel"),
        ("alpha.mov", "prores_ks", "yuva444p10le", None, "has an alpha channel"),
        ("gray-alpha.mkv", "ffv1", "ya8", None, "ya8 has an alpha channel"),
        ("rgba.mov", "png", "rgba", None, "rgba has an alpha channel"),
        ("palette.mov", "png", "pal8", None, "pal8 has a palette"),
        ("few-bits.mov", "qtrle", "rgb555be", None, "rgb555le has less than 8 bits"),
        ("bitmap.mov", "png", "monob", None, "monob has less than 8 bits"),
        ("float.mkv", "ffv1", "gbrpf16le", None, "gbrpf16le has floating-point samples"),
        ("unlisted.avi", "cljr", "yuv411p", None, "video codec cljr"),
        ("sound.mov", "mpeg4", "yuv420p", "pcm_mulaw", "cannot hold pcm_mulaw sound"),
        ("sound.avi", "ffv1", "yuv420p", "pcm_alaw", "cannot hold pcm_alaw sound"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_words(
    name: str, codec: str, pix_fmt: str, sound: str | None, sentence: str,
    studio: Studio, tmp_path: Path,
) -> None:  # fmt: skip
    write_any(tmp_path / name, codec, pix_fmt, sound)
    with pytest.raises(ClipFault, match=sentence) as fault:
        studio.survey(tmp_path / name)
    assert fault.value.reason is Reason.UNSUPPORTED_FORMAT


def test_every_codec_of_the_tables_has_a_decoder() -> None:
    for name in CODECS.split(","):
        assert av.codec.Codec(name, "r").name == name


def test_the_tables_know_which_sound_matroska_holds() -> None:
    with av.open(io.BytesIO(), "w", format="matroska") as output:
        held = output.supported_codecs
    assert set(SOUND.split(",")) <= held
    assert not set(SOUND_REFUSED.split(",")) & held
