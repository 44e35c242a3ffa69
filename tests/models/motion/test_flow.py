"""Optical flow of low pictures. OpenCV crashes there, so each case runs in a process of its own."""

import os

import cv2
import numpy as np
import pytest

from models.motion.flow import dis_flow

PRESETS = (cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def flows(rows: int, columns: int) -> None:
    luma = np.random.default_rng(0).integers(0, 255, (rows, columns), dtype=np.uint8)
    for preset in PRESETS:
        flow = dis_flow(cv2.DISOpticalFlow_create(preset), luma, np.roll(luma, 1, 1))
        assert flow.shape == (rows, columns, 2) and np.isfinite(flow).all()


@pytest.mark.parametrize("size", [(12, 64), (16, 256), (24, 1024), (12, 16_384), (64, 12)])
def test_a_low_picture_has_a_flow(size: tuple[int, int]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            flows(*size)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_other_pictures_have_the_flow_of_opencv() -> None:
    luma = np.random.default_rng(0).integers(0, 255, (32, 64), dtype=np.uint8)
    search = cv2.DISOpticalFlow_create(PRESETS[0])
    moved = np.roll(luma, 2, 1)
    assert np.array_equal(dis_flow(search, luma, moved), search.calc(luma, moved, None))
