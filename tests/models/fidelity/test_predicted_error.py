"""The predicted error and its scale."""

import pytest
import torch

from models.fidelity.predicted_error import ERROR_BLOCK, error_scale, predicted_error


def test_an_error_is_predicted_on_its_scale() -> None:
    for error in (0.0, 1.5, 40.0):
        plane = error_scale(torch.full((48, 64), error / 255))
        assert float(predicted_error(plane)) == pytest.approx(error, abs=1e-3)
    most = error_scale(torch.full((6 * ERROR_BLOCK, 6 * ERROR_BLOCK), 3 / 255))
    most[:ERROR_BLOCK, : 4 * ERROR_BLOCK] = 2.0  # one defect says nothing of the frame
    assert float(predicted_error(most)) == pytest.approx(3, abs=1e-3)
