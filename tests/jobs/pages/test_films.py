"""The sheets of real films: the frame that was asked for, restored among its neighbours."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from jobs.pages import films
from jobs.training.dataset import BankLayout, pan
from pipeline.media.rgb import read_rgb, write_rgb


def test_a_sheet_shows_its_frame_with_its_speck_gone(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    photo = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    clip, _ = pan(photo, BankLayout(frames=9, size=160), rng)
    clip = clip // 2 + 60
    clip[4, 70:78, 60:67] = 250
    write_rgb(tmp_path / "film.mkv", list(clip), Fraction(24))
    source = list(read_rgb(tmp_path / "film.mkv"))

    still = films.sheet(tmp_path / "film.mkv", 4, size="fast")

    assert still.index == 4
    assert np.array_equal(still.source, source[4])
    spot = np.s_[70:78, 60:67]
    before = np.abs(still.source[spot].astype(int) - clip[3][spot]).mean()
    after = np.abs(still.restored[spot].astype(int) - clip[3][spot]).mean()
    assert after < before / 2


def test_the_films_of_the_documents_are_there(footage: Path) -> None:
    for file, index in films.FILMS.values():
        assert list(islice(read_rgb(footage / "archive" / file), index, index + 1)), file
    assert set(films.FILMS) == {path.stem for path in films.SHEETS.glob("*.jpg")}
