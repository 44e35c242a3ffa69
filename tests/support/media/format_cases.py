"""The formats of archives as clips to write: containers, codecs, scan types, depths, ranges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product

from tests.support.media.media_factory import Clip, Sound

SCANS = ("progressive", "tff", "bff")
ORDERS = {"progressive": 1, "tff": 2, "bff": 3}
RANGES = {"limited": 1, "full": 2}
FFV1 = {"level": "3", "g": "1", "slices": "4", "slicecrc": "1"}
ILDCT = {"flags": "+ildct+ilme"}
FIELDS = {"tff": ILDCT, "bff": ILDCT}
PCM = Sound("pcm_s16le")
X264_FIELDS = {"tff": {"x264-params": "tff=1"}, "bff": {"x264-params": "bff=1"}}
D10 = {
    "g": "0", "b": "50000k", "minrate": "50000k", "maxrate": "50000k", "bufsize": "2000000",
    "rc_init_occupancy": "2000000", "intra_vlc": "1", "non_linear_quant": "1", "ps": "1",
    "qmin": "1", "qmax": "12", "dc": "10",
}  # fmt: skip
# The codec's name of the drawn pixel format, if it differs.
PACKED_RGB = {"gbrp": "rgb24", "gbrp16le": "rgb48be", "gray16le": "gray16be"}
FULL_RANGE = {f"yuv{c}p": f"yuvj{c}p" for c in ("420", "422", "444")}
DNXHR = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444"}
PLANAR_MAIN = ("yuv420p", "yuv422p", "yuv422p10le", "yuv444p10le", "yuv422p12le", "yuv444p16le")
PLANAR_MORE = (
    "yuv410p", "yuv411p", "yuv440p", "yuv444p", "yuv420p9le", "yuv420p10le", "yuv420p12le",
    "yuv420p14le", "yuv420p16le", "yuv422p14le", "yuv422p16le", "yuv444p12le", "gray", "gray10le",
    "gray12le", "gray16le", "gbrp", "gbrp10le", "gbrp12le", "gbrp16le",
)  # fmt: skip


@dataclass(frozen=True)
class FormatCase:
    """A codec in a container: what it can hold, and which properties the file states.

    `states` are of sar, order, colour, range: what the file itself says when it is read. `odd` is
    what MediaInfo reads in another way, of some of its clips.
    """

    suffix: str
    codec: str
    pix_fmts: tuple[str, ...]
    scans: tuple[str, ...] = SCANS
    ranges: tuple[str, ...] = ("limited",)
    states: str = ""
    size: tuple[int, int] = (64, 48)
    frames: int = 6
    fps: Fraction = Fraction(25)
    options: dict[str, str] = field(default_factory=dict)
    field_options: dict[str, dict[str, str]] = field(default_factory=lambda: FIELDS)
    sound: Sound = PCM
    muxer: str | None = None
    coded: dict[str, str] = field(default_factory=dict)
    grain: int = 0
    odd: str = ""

    def clip(self, pix_fmt: str, scan: str, levels: str) -> Clip:
        """The clip to write, with every tag set, whether the file can hold it or not."""
        tags = (1, 1, 1) if self.size[1] >= 720 else (5, 6, 5)
        coded = self.coded.get(pix_fmt)
        if levels == "full":
            coded = FULL_RANGE.get(pix_fmt) if self.codec in ("libx264", "mjpeg") else coded
        options = self.options | self.field_options.get(scan, {})
        if self.codec == "dnxhd" and "b" not in options:
            options |= {"profile": DNXHR[pix_fmt]}
        return Clip(
            codec=self.codec, pix_fmt=pix_fmt, coded=coded, scan=scan, muxer=self.muxer,
            width=self.size[0], height=self.size[1], frames=self.frames, fps=self.fps,
            options=options,
            sounds=(self.sound,), grain=self.grain, field_order=ORDERS[scan],
            sar=Fraction(16, 15), colour=(RANGES[levels], *tags),
        )  # fmt: skip


NO_OPTIONS: dict[str, dict[str, str]] = {}
X264 = {"preset": "ultrafast", "g": "4"}
ALL = "sar order colour range"
FORMS: dict[str, FormatCase] = {
    "ffv1-mkv": FormatCase("mkv", "ffv1", PLANAR_MAIN, ranges=("limited", "full"), states=ALL,
        options=FFV1, field_options=NO_OPTIONS, sound=Sound("flac")),
    "ffv1-mkv-more": FormatCase("mkv", "ffv1", PLANAR_MORE, scans=("progressive",), states=ALL,
        coded={"gbrp": "bgr0"}, options=FFV1, sound=Sound("pcm_s24le")),
    "ffv1-avi": FormatCase("avi", "ffv1", ("yuv420p", "yuv422p10le"), options=FFV1,
        field_options=NO_OPTIONS),
    "v210-mov": FormatCase("mov", "v210", ("yuv422p10le",), states="sar order colour",
        sound=Sound("pcm_s24be")),
    "v210-avi": FormatCase("avi", "v210", ("yuv422p10le",)),
    "uyvy-mov": FormatCase("mov", "rawvideo", ("yuv422p",), states="sar order colour",
        coded={"yuv422p": "uyvy422"}),
    "yuyv-avi": FormatCase("avi", "rawvideo", ("yuv422p",), coded={"yuv422p": "yuyv422"}),
    "rgb-mov": FormatCase("mov", "rawvideo", ("gbrp",), scans=("progressive",),
        states="sar order colour", coded=PACKED_RGB),
    "r210-mov": FormatCase("mov", "r210", ("gbrp10le",), scans=("progressive",),
        states="sar order colour"),
    "prores-mov": FormatCase("mov", "prores_ks", ("yuv422p10le", "yuv444p10le"),
        states=ALL, sound=Sound("pcm_s24le")),
    "prores-mxf": FormatCase("mxf", "prores_ks", ("yuv422p10le",), scans=("progressive",),
        states="sar order range", sound=Sound("pcm_s24le")),
    "dnxhr-mov": FormatCase("mov", "dnxhd", ("yuv422p10le",), scans=("progressive",),
        states="sar colour range", size=(256, 120)),
    "dnxhr-mxf": FormatCase("mxf", "dnxhd", ("yuv422p", "yuv422p10le"), scans=("progressive",),
        states="order range", size=(256, 120)),
    "dnxhr444-mxf": FormatCase("mxf", "dnxhd", ("yuv444p10le",), scans=("progressive",),
        states="order", size=(256, 120), odd="color_range"),  # read as RGB
    "dnxhd-mxf": FormatCase("mxf", "dnxhd", ("yuv422p",), scans=("progressive", "tff"),
        states="order colour range", size=(1920, 1080), frames=5, options={"b": "120M"}),
    "imx-mxf": FormatCase("mxf", "mpeg2video", ("yuv422p",), scans=("tff",),
        states="order range", size=(720, 608), frames=5, options=D10, muxer="mxf_d10",
        field_options={"tff": {"flags": "+ildct+low_delay"}}, grain=40,
        odd="height pixel_aspect_ratio",  # without the 32 lines above the picture
        sound=Sound("pcm_s16le", layout="4.0")),
    "mpeg2-mpg": FormatCase("mpg", "mpeg2video", ("yuv420p",), states="order colour range",
        sound=Sound("mp2")),
    "mpeg2-ts": FormatCase("ts", "mpeg2video", ("yuv420p", "yuv422p"), states="order colour range",
        sound=Sound("ac3"), options={"bf": "2", "g": "6"}),
    "mpeg2-mxf": FormatCase("mxf", "mpeg2video", ("yuv422p",), states="order range"),
    "dv-pal": FormatCase("dv", "dvvideo", ("yuv420p",), scans=("bff",), states="sar",
        size=(720, 576), frames=5),
    "dv-ntsc": FormatCase("avi", "dvvideo", ("yuv411p",), scans=("bff",),
        size=(720, 480), frames=5, fps=Fraction(30000, 1001)),
    "dvcpro50": FormatCase("mov", "dvvideo", ("yuv422p",), scans=("bff",),
        states="sar order colour", size=(720, 576), frames=5),
    "jpeg2000-mxf": FormatCase("mxf", "jpeg2000", ("yuv422p10le", "yuv422p", "gbrp12le"),
        scans=("progressive",), states="sar order range", options={"pred": "1"},
        odd="bit_depth chroma_subsampling"),  # RGB of 12 bits in FFV1 is read as 16
    "jpeg2000-mov": FormatCase("mov", "jpeg2000", ("yuv422p10le", "gray16le"),
        scans=("progressive",), states="sar order colour", options={"pred": "1"},
        odd="chroma_subsampling"),  # gray in FFV1 has none, in JPEG 2000 it is 4:0:0
    "h264-mp4": FormatCase("mp4", "libx264", ("yuv420p", "yuv422p", "yuv444p", "yuv422p10le"),
        ranges=("limited", "full"), states=ALL, options=X264,
        field_options=X264_FIELDS, sound=Sound("aac")),
    "h264-ts": FormatCase("ts", "libx264", ("yuv420p",), states=ALL, options=X264,
        field_options=X264_FIELDS, sound=Sound("mp2")),
    "h265-mkv": FormatCase("mkv", "libx265", ("yuv420p", "yuv422p10le", "yuv420p12le"),
        scans=("progressive",), states=ALL, sound=Sound("libopus"),
        options={"preset": "ultrafast", "x265-params": "log-level=none"}),
    "mpeg4-avi": FormatCase("avi", "mpeg4", ("yuv420p",), states="sar", sound=Sound("mp2")),
    "mjpeg-mov": FormatCase("mov", "mjpeg", ("yuv420p", "yuv422p"), scans=("progressive",),
        ranges=("full",), states=ALL),
    "huffyuv-avi": FormatCase("avi", "huffyuv", ("yuv422p",)),
    "ffvhuff-avi": FormatCase("avi", "ffvhuff", ("yuv422p10le", "yuv420p", "gbrp")),
    "utvideo-avi": FormatCase("avi", "utvideo", ("yuv422p", "yuv420p", "gbrp")),
    "png-mov": FormatCase("mov", "png", ("gbrp", "gbrp16le", "gray", "gray16le"),
        scans=("progressive",), states=ALL, coded=PACKED_RGB),
}  # fmt: skip
# Large pictures, left to the extended run.
SLOW = ("dnxhd-mxf", "dv-ntsc", "dvcpro50")
RATES = {
    "16": Fraction(16), "18": Fraction(18), "20": Fraction(20), "24": Fraction(24),
    "23.976": Fraction(24000, 1001), "29.97": Fraction(30000, 1001), "50": Fraction(50),
    "59.94": Fraction(60000, 1001),
}  # fmt: skip
LINES = {"480": (720, 480), "486": (720, 486), "576": (720, 576), "1080": (1920, 1080)}


def every_case() -> Iterator[tuple[str, FormatCase, Clip]]:
    """(name, form, clip) of the whole matrix."""
    for name, form in FORMS.items():
        for pix_fmt, scan, levels in product(form.pix_fmts, form.scans, form.ranges):
            yield f"{name}-{pix_fmt}-{scan}-{levels}", form, form.clip(pix_fmt, scan, levels)
    film = FORMS["ffv1-mkv"]
    for label, rate in RATES.items():
        clip = replace(film.clip("yuv422p10le", "progressive", "limited"), fps=rate)
        yield f"rate-{label}", film, clip
    for label, (width, height) in LINES.items():
        clip = film.clip("yuv420p", "tff", "limited")
        yield f"lines-{label}", film, replace(clip, width=width, height=height)


def few_cases() -> Iterator[tuple[str, FormatCase, Clip]]:
    """(name, form, clip) of one clip of each form that is not slow, and of FFV1 in every scan."""
    for name, form in FORMS.items():
        if name in SLOW:
            continue
        scans = form.scans if name == "ffv1-mkv" else form.scans[-1:]
        for scan, levels in product(scans, form.ranges):
            label = f"{name}-{form.pix_fmts[0]}-{scan}-{levels}"
            yield label, form, form.clip(form.pix_fmts[0], scan, levels)
