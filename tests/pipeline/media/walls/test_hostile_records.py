"""What code in the decoder's place sends takes neither the time nor the memory of its parent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.clip.frames import Frame
from pipeline.media import launcher
from pipeline.media.muxer import stream_hashes
from pipeline.media.sandbox import KilledFromOutside
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.support.media.decoding import decode
from tests.support.media.media_factory import Clip, write_clip

# At its first `av.open`, a job does what the name of its file says.
HOSTILE = """
import os, sys
if "pipeline.media.child.launch" in sys.orig_argv:
    import av
    real = av.open
    def hostile(path, *rest, **options):
        import threading
        from fractions import Fraction
        from pipeline.clip.frames import Probe
        from pipeline.media.wire import ALIVE, FRAME, FRAME_HEADER, PROBE, RECORD
        from schemas.errors import ClipFault
        from schemas.reasons import Reason
        frame = sys._getframe()
        while "output" not in frame.f_locals:
            frame = frame.f_back
        output, for_ever = frame.f_locals["output"], threading.Event().wait
        def probe(**changed):
            third = Fraction(1, 3)
            sound = Probe(
                "matroska", "ffv1", 16, 16, "yuv420p", "yuv420p", 8, third, third, third,
                None, None, None, None, "progressive", 0, 2, 2, 2, 0, (), (), (), (), 0, None,
            )
            output.send_json(PROBE, {**sound.to_dict(), **changed})
        def threads():
            threading.stack_size(32768)
            for _ in range(2000):
                threading.Thread(target=for_ever, daemon=True).start()
            for_ever()
        def alive():
            while True:
                output.send(ALIVE)
        def frames():
            probe()
            for pts in range(1000):
                output.send(FRAME, FRAME_HEADER.pack(pts, 0), bytes(16 * 16 * 3 // 2))
        def silent():
            os.close(output.descriptor)
            for_ever()
        def fault(reason, sentence):
            raise ClipFault(Reason(reason), sentence)
        acts = dict(
            threads=threads, alive=alive, frames=frames, silent=silent,
            bomb=lambda: output.send(PROBE, b"[" + b"[]," * (2 << 20) + b"[]]"),
            nested=lambda: output.send(PROBE, b"[" * 100_000),
            list=lambda: output.send(PROBE, b"[]"),
            power=lambda: probe(fps="1e999999999"),
            empty=lambda: probe(fps="1/0"),
            huge=lambda: probe(width=100_000, height=100_000),
            lacking=lambda: output.send_json(PROBE, {"width": 8}),
            store=lambda: fault("STORE_ERROR", "the store is down"),
            disk=lambda: fault("DISK_FULL", "no room"),
            escape=lambda: fault("TRUNCATED", "\\x1b[31m \\x1b]0;title\\x07 \\u202e" + 9000 * "x"),
        )
        act = acts.get(os.path.basename(str(path)).partition(".")[0])
        if act:
            act()
            for_ever()
        return real(path, *rest, **options)
    av.open = hostile
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ClipFault]:
    """Plays a hostile decoder, and returns how the file ended."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "sitecustomize.py").write_text(HOSTILE)
    write_clip(folder / "sound.mkv", Clip(frames=2))

    def play(act: str, read: Callable[[Path, Limits], object], limits: Limits) -> ClipFault:
        path = folder / f"{act}.mkv"
        path.write_bytes((folder / "sound.mkv").read_bytes())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(folder))
            with pytest.raises(ClipFault) as caught:
                read(path, limits)
        return caught.value

    return play


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("bomb", "sent a record of 6291460 bytes, 4194304 at most"),
        ("nested", "a record that is no JSON object"),
        ("list", "a record that is no JSON object"),
        ("power", "a probe that is none"),
        ("empty", "a probe that is none"),
        ("lacking", "a probe that is none"),
        ("huge", "a picture of 100000x100000"),
        ("frames", "more than 20 frames"),
        ("store", "a fault that it cannot have, STORE_ERROR: the store is down"),
        ("disk", "a fault that it cannot have, DISK_FULL: no room"),
        ("threads", "started over 512 threads"),
    ],
)
def test_what_no_decoder_sends_is_a_crash_of_the_decoder(
    act: str, said: str, played: Callable[..., ClipFault]
) -> None:
    fault = played(act, decode, Limits(max_frames=20))
    assert fault.reason is Reason.DECODER_CRASH and not isinstance(fault, KilledFromOutside)
    assert said in fault.sentence


@pytest.mark.timeout(60)
def test_signs_of_life_end_with_the_time_of_a_clip(played: Callable[..., ClipFault]) -> None:
    fault = played("alive", stream_hashes, Limits(wall_seconds=1))
    assert fault.reason is Reason.DECODER_TIMEOUT


def test_a_child_that_closes_its_output_and_stays_is_killed(
    played: Callable[..., ClipFault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "END_SECONDS", 0.05)
    fault = played("silent", decode, Limits())
    assert fault.reason is Reason.DECODER_CRASH and "SIGKILL" in fault.sentence


def test_a_sentence_cannot_write_on_a_terminal(played: Callable[..., ClipFault]) -> None:
    sentence = played("escape", decode, Limits()).sentence
    assert sentence.isprintable() and len(sentence) < 5000
    assert "\ufffd[31m \ufffd]0;title\ufffd \ufffdxxx" in sentence


def test_beside_them_a_sound_file_is_decoded(played: Callable[..., ClipFault]) -> None:
    frames: list[Frame] = []

    def read(path: Path, limits: Limits) -> None:
        frames.extend(decode(path, limits))
        raise ClipFault(Reason.INTERNAL, "read")

    assert played("sound", read, Limits()).message == "read" and len(frames) == 2
