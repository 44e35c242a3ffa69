"""Which clips the survey calls clean: `python clean_shots.py FOOTAGE [PRESET ...]`.

FOOTAGE has the folders `valid` and `archive`. Each PRESET of the simulator ages the first 24 frames of
every clean clip.
"""

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from models.damage.simulator import age
from pipeline.clip.clip import Clip
from pipeline.media.rgb import codec_round_trip, read_rgb, write_rgb
from pipeline.survey import survey_clip
from schemas.recipe import Recipe


def judged(path: Path, kind: str, cache: Path) -> None:
    survey = survey_clip(Clip(path.stem, str(path)), Recipe(), cache)
    words = {word for shot in survey.shots for word in shot.found.split(", ") if word}
    print(
        f"{path.stem:<50} {kind:<10} {survey.frames_clean}/{len(survey.pts)} frames clean",
        ", ".join(sorted(words)),
        flush=True,
    )


def main(footage: Path, presets: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        for kind in ("valid", "archive") if not presets else ():
            for path in sorted((footage / kind).glob("*.mp4")):
                judged(path, kind, cache)
        for preset in presets:
            for path in sorted((footage / "valid").glob("*.mp4")):
                frames = np.stack(list(read_rgb(path, 0, 24)))
                aged = age(frames, preset, 7, codec_round_trip).frames
                write_rgb(cache / path.name, aged, Fraction(24), pix_fmt="yuv420p")
                judged(cache / path.name, preset, cache)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
