"""Pictures that are too small or too large for the stages: faults of the clip."""

from pathlib import Path

import pytest

from pipeline.clip.clip import Clip
from pipeline.survey import survey_clip
from schemas.errors import ClipFault
from schemas.reasons import REASONS, Reason
from schemas.recipe import Recipe
from tests.support.media import media_factory
from tests.support.media.media_factory import write_clip


@pytest.mark.parametrize("size", [(11, 48), (48, 11), (2, 2), (16_386, 16), (16, 16_386)])
def test_a_picture_too_small_or_too_large_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    drawn = media_factory.Clip(width=width, height=height, frames=2, pix_fmt="yuv444p")
    write_clip(tmp_path / "reel.mkv", drawn)
    with pytest.raises(ClipFault, match=f"{width}x{height}.* 12 to 16384 pixels") as caught:
        survey_clip(Clip("c", str(tmp_path / "reel.mkv")), Recipe(), tmp_path / "cache")
    assert caught.value.reason is Reason.UNSUPPORTED_FORMAT
    assert REASONS[caught.value.reason].kind == "clip"  # ten in a row do not end the run


@pytest.mark.parametrize("size", [(12, 12), (12, 48), (16_384, 12), (12, 16_384)])
def test_the_smallest_and_the_largest_picture_are_surveyed(
    size: tuple[int, int], tmp_path: Path
) -> None:
    drawn = media_factory.Clip(width=size[0], height=size[1], frames=3, pix_fmt="yuv444p")
    write_clip(tmp_path / "reel.mkv", drawn)
    survey = survey_clip(Clip("c", str(tmp_path / "reel.mkv")), Recipe(), tmp_path / "cache")
    assert (survey.probe.width, survey.probe.height) == size
