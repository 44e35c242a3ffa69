"""Whole frames against places at 1920x1080: `python places.py MODEL FRAMES CLIP[@FRAME] ...`.

Prints CPU-seconds a frame of the model in one thread, the share of the pixels that the network
computes before its pixel decoder, and the repairs and suspects of a frame. Clips are enlarged to
1920x1080.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jobs.evaluate.real.film import Film
from models.network import stage
from models.network.unet import RestorationNet
from models.restorer import Restorer, limit_threads

SIZE = 1920, 1080
computed: list[int] = []
restore, place = RestorationNet.denoised, stage.NetworkStage._with_places


def counted(net: RestorationNet, window: Any, *given: Any) -> Any:
    computed.append(window.shape[-2] * window.shape[-1])
    return restore(net, window, *given)


limit_threads(1)
RestorationNet.denoised = counted  # type: ignore[method-assign]
restorer, count = Restorer(sys.argv[1]), int(sys.argv[2])
for name in sys.argv[3:]:
    path, _, first = name.partition("@")
    frames = Film.read(Path(path)).frames[int(first or 0) :][:count]
    large = [cv2.resize(frame, SIZE, interpolation=cv2.INTER_CUBIC) for frame in frames]
    images = [np.divide(frame, 255, dtype=np.float32) for frame in large]
    for kind, with_places in (("whole", lambda self, frame, *given: frame), ("places", place)):
        stage.NetworkStage._with_places = with_places  # type: ignore[method-assign]
        computed.clear()
        started = time.process_time()
        found = list(restorer.stream(images, deflicker=False, grain=1.0))
        seconds = (time.process_time() - started) / count
        share = sum(computed) / count / (1920 * 1088)
        decisions = [one.decision for frame in found for one in frame.repairs]
        repairs, suspects = (decisions.count(d) / count for d in ("repair", "suspect"))
        print(
            f"{Path(path).stem} {kind}: {seconds:.2f} CPU-s, {share:.0%} of the pixels, "
            f"{repairs:.1f} repairs, {suspects:.1f} suspects",
            flush=True,
        )
