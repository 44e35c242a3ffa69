"""The profiles of derived files: their formats, and what each format can hold.

Parent and child process both use these tables. `docs/formats.md` is generated from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from pipeline.clip.frames import Probe
from pipeline.clip.scan import WORDS
from pipeline.media.tolerances import RATE_TOLERANCE
from schemas.colour_names import colour_name
from schemas.errors import ClipFault
from schemas.reasons import Reason

PCM = ("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le")
# Frame rates that an MXF file can state.
MXF_RATES = tuple(
    Fraction(*rate)
    for rate in ((24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1),
                 (60000, 1001), (60, 1))
)  # fmt: skip
TIMECODE = re.compile(r"\d\d:\d\d:\d\d[:;.]\d\d")
# H.273 matrices that DNxHR can state: BT.709, BT.601 twice, BT.2020. If the matrix is unspecified,
# it states BT.709.
DNXHR_MATRICES, UNSPECIFIED, HD_LINES = (1, 5, 6, 9), 2, 720
LIMITED, FULL = 1, 2  # H.273 ranges
DNXHR_LEAST = (256, 120)  # width and height
# Channel layouts of the AAC encoder. Matroska states the number of channels, not the layout.
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}


@dataclass(frozen=True)
class Form:
    """The format of a profile. `container`, `codec` and `options` have libav's names.

    `floor_db`: the lowest PSNR to the master that a frame may have, in luma and in chroma at a
    quarter of its size. `loses`: which of chapters, captions, rotation and languages the container
    cannot hold.
    """

    suffix: str  # after <clip>_rst
    title: str
    container: str
    codec: str
    decoded_as: str
    pix_fmt: str
    options: Mapping[str, str]
    mux_options: Mapping[str, str]
    floor_db: float
    sound_kept: tuple[str, ...]
    sound_codec: str  # for all other sound
    sound_rate: int | None = None  # in Hz, if the container allows only one
    interlaced: str = "kept"  # or "one frame for each field", or "refused"
    varying: str = "kept"  # a frame rate that varies; or "refused"
    loses: frozenset[str] = field(default_factory=frozenset)


MOV_FLAGS = {"movflags": "+faststart+use_metadata_tags"}
FORMS: dict[str, Form] = {
    "mezzanine": Form(
        "_mz.mov", "ProRes 422 HQ in QuickTime", "mov", "prores_ks", "prores", "yuv422p10le",
        {"profile": "3", "vendor": "apl0"}, MOV_FLAGS, 34.0, PCM, "pcm_s24le",
    ),
    "mezzanine-mxf": Form(
        "_mz.mxf", "DNxHR HQX in MXF", "mxf", "dnxhd", "dnxhd", "yuv422p10le",
        {"profile": "dnxhr_hqx"}, {}, 34.0, ("pcm_s16le", "pcm_s24le"), "pcm_s24le", 48000,
        interlaced="refused", varying="refused",
        loses=frozenset({"chapters", "captions", "rotation", "languages"}),
    ),
    "access": Form(
        "_sc.mp4", "H.264 in MP4", "mp4", "libx264", "h264", "yuv420p",
        # No macroblock tree: with it, equal input does not give equal bytes.
        {"crf": "21", "preset": "medium", "profile": "high", "x264-params": "mbtree=0"},
        MOV_FLAGS, 24.0, ("aac",), "aac", interlaced="one frame for each field",
    ),
}  # fmt: skip


def check_profiles(profiles: Sequence[str], probe: Probe, order: str, regular: bool) -> None:
    """Raises `ClipFault` (`PROFILE_REFUSED`, `VFR_REFUSED`) if a profile cannot hold the clip.

    `order`: progressive, tff or bff. `regular`: every frame lasts equally long.
    """
    for name in profiles:
        form = FORMS.get(name)
        if form is None:
            continue
        if not regular and form.varying == "refused":
            raise ClipFault(Reason.VFR_REFUSED, f"{name}: {form.title} needs one frame rate")
        why = refusal(form, probe, order)
        if why:
            raise ClipFault(Reason.PROFILE_REFUSED, f"{name}: {form.title} cannot hold {why}")


def refusal(form: Form, probe: Probe, order: str) -> str:
    """What a form cannot hold of a clip, in words. Empty if it can hold everything."""
    size = f"{probe.width}x{probe.height}"
    if order != "progressive" and form.interlaced == "refused":
        return f"pictures that are {WORDS[order]}"
    if form.pix_fmt == "yuv420p" and (probe.width % 2 or probe.height % 2):
        return f"the odd size {size}"
    for codec, channels in zip(probe.audio, probe.channels, strict=False):
        coded = form.sound_codec if codec not in form.sound_kept else codec
        if coded == "aac" != codec and channels not in LAYOUTS:
            return f"a sound track of {channels} channels as AAC"
    return _mxf_refusal(probe, size) if form.container == "mxf" else ""


def _mxf_refusal(probe: Probe, size: str) -> str:
    rgb_or_gray = not probe.pix_fmt.startswith("yuv")
    named = DNXHR_MATRICES if probe.height < HD_LINES else (*DNXHR_MATRICES, UNSPECIFIED)
    if probe.width < DNXHR_LEAST[0] or probe.height < DNXHR_LEAST[1]:
        return f"{size}, less than {DNXHR_LEAST[0]}x{DNXHR_LEAST[1]}"
    if standard_rate(probe.fps) not in MXF_RATES:
        return f"{float(probe.fps):.3f} frames a second"
    if probe.display:
        return f"a rotation by {probe.rotation} degrees" if probe.rotation else "a mirrored picture"
    if not rgb_or_gray and probe.colorspace not in named:
        return f"the colour matrix {colour_name('matrix', probe.colorspace)}: it would state BT.709"
    return ""


def standard_rate(fps: Fraction) -> Fraction:
    """The nearest standard rate within `RATE_TOLERANCE`, otherwise the rate itself."""
    near = (rate for rate in MXF_RATES if abs(fps / rate - 1) < RATE_TOLERANCE)
    return next(near, fps)


def is_regular(times_ms: Sequence[int], fps: Fraction) -> bool:
    """Whether timestamps, rounded to 1 ms, follow one frame rate."""
    if not times_ms:
        return True
    step = 1000 / standard_rate(fps)
    return all(abs(at - times_ms[0] - i * step) <= 1 for i, at in enumerate(times_ms))


def frames_of(form: Form, order: str) -> int:
    """Frames of the derived file per frame of the master: 1 or 2."""
    return 2 if order != "progressive" and form.interlaced.startswith("one frame") else 1


def times_of(times_ms: Sequence[int], per_frame: int) -> list[Fraction]:
    """The times of the derived frames in ms. A second field comes half a frame later."""
    if per_frame == 1:
        return [Fraction(at) for at in times_ms]
    last = 2 * times_ms[-1] - times_ms[-2] if len(times_ms) > 1 else times_ms[-1]
    following = [*times_ms[1:], last]
    pairs = zip(times_ms, following, strict=True)
    return [at for a, b in pairs for at in (Fraction(a), Fraction(a + b, 2))]


def is_full(probe: Probe) -> bool:
    """Whether samples use the full range. If nothing is declared, all formats but YUV do."""
    return probe.color_range == FULL or (
        not probe.pix_fmt.startswith("yuv") and probe.color_range != LIMITED
    )


def matrix_for(probe: Probe) -> int:
    """The H.273 matrix of the derived samples: the master's, or for RGB BT.709 or BT.601."""
    if not probe.pix_fmt.startswith("gbr"):
        return probe.colorspace
    if probe.height >= HD_LINES:
        return 1
    return 5 if probe.height == 576 else 6


def timecode_for(timecode: str | None, per_frame: int) -> str | None:
    """The start timecode at the derived rate. Its frame number doubles if fields become frames.

    None if the text is no timecode.
    """
    if timecode is None or TIMECODE.fullmatch(timecode) is None:
        return None
    if per_frame == 1:
        return timecode
    return f"{timecode[:-2]}{2 * int(timecode[-2:]):02d}"
