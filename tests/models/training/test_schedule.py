"""The pace of a training by a clock that is set by hand."""

import pytest

from models.training.config import TrainConfig
from models.training.schedule import SPARE, Schedule, pace

CONFIG = TrainConfig(steps=100, warmup=10, lr=1.0, lr_last=0.1, bridge_from=0.5, ema=0.9)


def clocked(seconds: float, **given: float) -> tuple[Schedule, list[float]]:
    now = [1000.0]
    schedule = Schedule(CONFIG.steps, seconds, now=lambda: now[0], **given)
    schedule.begin()
    return schedule, now


def test_the_clock_sets_the_same_pace_as_the_steps() -> None:
    by_steps, (by_clock, now) = Schedule(CONFIG.steps), clocked(200.0)
    by_steps.begin()
    for step in range(100):
        now[0] = 1000.0 + 2 * (step + 1)
        assert by_clock.pace(step, CONFIG) == by_steps.pace(step, CONFIG)
    assert by_steps.over(100) and not by_steps.over(99)


def test_the_pace_rises_falls_and_ends() -> None:
    rates = [pace(share / 20, 50, CONFIG).rate for share in range(21)]
    assert rates[0] == 0 and rates[1] == pytest.approx(0.5) and rates[2] == 1.0
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] == pytest.approx(0.1)
    shares = [pace(share, 50, CONFIG).bridge for share in (0.49, 0.5)]
    assert shares == [0.0, CONFIG.bridge_share]
    assert [pace(0.5, step, CONFIG).keep for step in (0, 10, 1000)] == [0.1, 0.55, 0.9]


def test_by_the_clock_a_short_warm_up_has_its_least_share() -> None:
    schedule, now = clocked(100.0)
    sudden = TrainConfig(steps=100_000, warmup=1, lr=1.0)
    now[0] += 1
    assert schedule.pace(0, sudden).rate == pytest.approx(0.5)


def test_the_end_leaves_time_for_a_step_a_validation_and_a_checkpoint() -> None:
    schedule, now = clocked(100.0)
    with schedule.end():
        now[0] += 10
    with schedule.step():
        now[0] += 5
    last = 100 - SPARE * 10 - 5
    now[0] = 1000 + last
    assert not schedule.over(7)
    now[0] += 0.01
    assert schedule.over(7)


def test_a_training_that_goes_on_has_what_is_left() -> None:
    schedule, now = clocked(100.0, used=60.0)
    assert schedule.pace(0, CONFIG) == clocked(60 / 0.6, used=60.0)[0].pace(0, CONFIG)
    assert schedule.pace(0, CONFIG).rate == pytest.approx(pace(0.6, 0, CONFIG).rate)
    now[0] += 39
    assert not schedule.over(0)
    now[0] += 2
    assert schedule.over(0)
