"""The value that crosses the stages of the restorer."""

import numpy as np

from models.frame_state import number_frames


def test_frames_are_numbered_and_begin_without_a_result() -> None:
    images = [np.full((4, 6, 3), level, np.float32) for level in (0.1, 0.2)]
    for index, (frame, image) in enumerate(zip(number_frames(images, 7), images, strict=True), 7):
        assert frame.index == index and frame.image is frame.source is image
        assert frame.curve(image) is image and frame.rung is None


def test_a_picture_that_pytorch_cannot_share_is_copied() -> None:
    picture = np.arange(72, dtype=np.float32).reshape(4, 6, 3)
    fixed = picture.copy()
    fixed.flags.writeable = False
    for given in (picture[:, ::-1], fixed):
        (frame,) = number_frames([given])
        assert np.array_equal(frame.image, given)
        assert frame.image.flags.c_contiguous and frame.image.flags.writeable
