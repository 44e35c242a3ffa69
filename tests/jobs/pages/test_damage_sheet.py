"""The sheet of damage presets: one row per preset, and a mark for every kind of defect."""

import numpy as np

from jobs.pages.damage_sheet import COLUMN_GAP_PX, FRAMES, ROW_LABEL_PX, damage_sheet


def test_a_row_shows_frames_and_the_defects_of_the_last_one() -> None:
    clip = np.full((FRAMES + 2, 64, 96, 3), 90, np.uint8)
    sheet = damage_sheet(clip, rows=(("clean", 0), ("worn", 4)))
    width = 96 * (FRAMES + 1) + COLUMN_GAP_PX * FRAMES
    assert sheet.shape == (2 * (64 + ROW_LABEL_PX), width, 3)
    clean, worn = sheet[ROW_LABEL_PX : 64 + ROW_LABEL_PX, -96:], sheet[-64:, -96:]
    assert clean.max() == 0
    assert worn.max() > 0
