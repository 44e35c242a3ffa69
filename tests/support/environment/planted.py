"""The planted faults: what a run meets, and how each clip must end.

To plant another, add a row to `FAULTS`. If it is cheap, add its name to `SHORT` in the test, too.
`make test-faults` plants all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.environment import broken_media as broken
from tests.support.environment.broken_media import DEEP, PCM, SIZE, SOUND, WEB, Write
from tests.support.media.media_factory import Clip, Sound

PUBLISHED = ""


@dataclass(frozen=True)
class Planted:
    """The source of a clip, its row in the manifest, and the reason code it must end with.

    The extension `crash`, `hang`, `slow` or `greedy` lets the decoder do that. `store` is what the
    store does with each request for the source, by a name in `store_proxy.ANSWERS`. `killed` is the
    step that the test kills, each time the clip begins it.
    """

    file: str
    ends: str
    write: Write = broken.deep
    row: Mapping[str, str] = field(default_factory=dict)
    local: bool = False  # the source lies on the disk of the worker, not in the store
    store: str = ""
    killed: str = ""  # survey or shard
    swapped: bool = False  # another picture takes the place of the source when a shard begins


def text(drawn: str) -> bytes:
    """A text that claims to be a film."""
    return drawn.encode() * 40


FAULTS: dict[str, Planted] = {
    # what is not there, or not a file
    "missing": Planted("nowhere.mkv", "NOT_FOUND", broken.nothing),
    "pipe": Planted("pipe.mkv", "NOT_FOUND", broken.pipe, local=True),
    "loop": Planted("loop.mkv", "NOT_FOUND", broken.loop, local=True),
    "folder": Planted("folder.mkv", "NOT_FOUND", Path.mkdir, local=True),
    "socket": Planted("socket.mkv", "NOT_FOUND", broken.listener, local=True),
    "device": Planted("device.mkv", "NOT_FOUND", broken.device, local=True),
    "name": Planted("x" * 300 + ".mkv", "NOT_FOUND", broken.nothing, local=True),
    # what is not the file that it claims to be
    "changed": Planted("changed.mkv", "FIXITY_MISMATCH", row={"checksum": "0" * 64}),
    "zero": Planted("zero.mkv", "TRUNCATED", broken.content(b"")),
    "text": Planted("text.mkv", "UNSUPPORTED_FORMAT", broken.content(text("moov mdat "))),
    "list": Planted("list.mkv", "UNSUPPORTED_FORMAT",
        broken.content(b"ffconcat version 1.0\nfile /etc/hostname\n")),
    "extension": Planted("extension.mp4", PUBLISHED, broken.as_matroska),
    # damage
    "cut": Planted("cut.mkv", "TRUNCATED", broken.half(SOUND)),
    "moov": Planted("moov.mp4", "TRUNCATED", broken.half(WEB)),
    "flipped": Planted("flipped.mkv", "DECODE_CRC", broken.flipped),
    "gap": Planted("gap_%04d.png", "FRAME_COUNT", broken.gap, row={"expected_fps": "25"}),
    "grows": Planted("grows.ts", "DECODE_ERROR", broken.grows),
    "swapped": Planted("swapped.slow", "DECODE_ERROR", local=True, swapped=True),
    # what the program does not restore
    "mute": Planted("mute.mkv", "NO_VIDEO", broken.mute),
    "codec": Planted("codec.avi", "UNSUPPORTED_FORMAT",
        broken.clip(Clip(**SIZE, codec="asv1", options={}))),
    "sound": Planted("sound.avi", "UNSUPPORTED_FORMAT",
        broken.clip(Clip(**SIZE, codec="mpeg4", options={}, sounds=(Sound("pcm_alaw"),)))),
    "tracks": Planted("tracks.mkv", "UNSUPPORTED_FORMAT",
        broken.clip(Clip(**SIZE, sounds=tuple(Sound("pcm_s16le", seed) for seed in range(70))))),
    "encrypted": Planted("encrypted.mp4", "UNSUPPORTED_FORMAT", broken.clip(broken.ENCRYPTED)),
    "small": Planted("small.mkv", "UNSUPPORTED_FORMAT",
        broken.clip(Clip(width=48, height=11, frames=2, pix_fmt="yuv444p"))),
    "wide": Planted("wide.mkv", "UNSUPPORTED_FORMAT",
        broken.clip(Clip(width=16_386, height=16, frames=2, pix_fmt="yuv444p"))),
    "sheared": Planted("sheared.mp4", "UNSUPPORTED_FORMAT", broken.sheared),
    "askew": Planted("askew.mp4", "UNSUPPORTED_FORMAT",
        broken.shown("turned and mirrored", broken.ANAMORPHIC)),
    "bomb": Planted("bomb.mkv", "MEDIA_BOMB",
        broken.clip(Clip(width=6400, height=6000, pix_fmt="gray", frames=1))),
    "long": Planted("long.mkv", "MEDIA_BOMB",
        broken.clip(Clip(width=32, height=24, frames=210))),
    # what its row says
    "embargo": Planted("embargo.mkv", "EMBARGOED", row={"embargo_until": "2999-12-31"}),
    "leave": Planted("leave.mkv", "MANIFEST_INVALID", row={"leave": "900"}),
    "protect": Planted("protect.mkv", "MANIFEST_INVALID", row={"protect": "900,900,9,9"}),
    "film": Planted("film.mkv", "INTERLACE_REFUSED", row={"interlace": "ivtc"}),
    # decoders
    "crash": Planted("film.crash", "DECODER_CRASH"),
    "greedy": Planted("film.greedy", "MEDIA_BOMB"),
    "hang": Planted("film.hang", "DECODER_TIMEOUT"),
    # workers
    "poison": Planted("poison.slow", "GPU_LOST", killed="shard"),
    "pest": Planted("pest.slow", "WORKER_LOST", killed="survey"),
    # the store
    "denied": Planted("denied.mkv", "ACCESS_DENIED", store="denied"),
    "cold": Planted("cold.mkv", "ARCHIVED_TIER", store="cold"),
    "failing": Planted("failing.mkv", "STORE_ERROR", store="failing"),
    "throttled": Planted("throttled.mkv", "STORE_THROTTLED", store="throttled"),
    "halves": Planted("halves.mkv", "STORE_ERROR", store="halves"),
    "wrong": Planted("wrong.mkv", "STORE_ERROR", store="wrong"),
    "full": Planted("full.mkv", "DISK_FULL", store="full"),
    "hiccup": Planted("hiccup.mkv", PUBLISHED, store="hiccup"),
    "late": Planted("late.mkv", PUBLISHED, store="late"),
    # what only looks like a fault
    "mirrored": Planted("mirrored.mp4", PUBLISHED, broken.shown("mirrored")),
    "turned": Planted("turned.mp4", PUBLISHED, broken.shown("turned", broken.ANAMORPHIC)),
    "b-frames": Planted("b_frames.avi", PUBLISHED, broken.in_decoding_order),
    "cinepak": Planted("cinepak.avi", PUBLISHED,
        broken.clip(Clip(**SIZE, codec="cinepak", pix_fmt="gbrp", coded="rgb24", options={}))),
    "-rf": Planted("$(id) 'a' ;rm -rf.mkv", PUBLISHED),
    "CON.__proto__": Planted("\u00fcn\u00ef \u30d5\u30a3\u30eb\u30e0 &<b>.mkv", PUBLISHED),
}  # fmt: skip
# Decoders of some files crash, hang, are slow or take all memory, as native decoders can. The
# extensions select them.
TRAP = """
import os, signal, sys, time
if "pipeline.media.child.launch" in sys.orig_argv:
    import av
    real = av.open
    def trapped(*args, **kwargs):
        name = str(args[0])
        if name.endswith(".crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.endswith(".hang"):
            time.sleep(3600)
        if name.endswith(".slow"):
            time.sleep(1.5)
        if name.endswith(".greedy"):
            bytearray(64 << 30)
        return real(*args, **kwargs)
    av.open = trapped
"""
GOOD = {
    "good_sound.mkv": SOUND,
    "good_web.mp4": WEB,
    "good_deep.mkv": DEEP,
    "good_prores.mov": Clip(
        width=64, height=48, frames=10, codec="prores_ks", pix_fmt="yuv422p10le", options={},
        sounds=PCM,
    ),
}  # fmt: skip
