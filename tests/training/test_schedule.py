"""Budgets, and the learning rate on the way."""

from __future__ import annotations

import pytest

from damgan_cli.training.config import TrainingConfig
from damgan_cli.training.schedule import Budget, learning_rate


def test_learning_rate_schedule():
    config = TrainingConfig(batch_size=10, warmup_images=100, decay_start=0.5, final_rate=0.1)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 10, 0.04) == pytest.approx(0.8)  # of a twentieth of the budget
    assert learning_rate(config, 10, 0.2) == pytest.approx(1)
    assert learning_rate(config, 90, 0.1) == pytest.approx(1)
    assert learning_rate(config, 1000, 0.75) == pytest.approx(0.55)
    assert learning_rate(config, 1000, 1.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("batch", "refined_share", "light_share", "refined", "light"),
    [(6, 0.5, 0.67, 3, 2), (6, 0.5, 0, 3, 0), (6, 0, 0.99, 0, 5), (32, 0.5, 0.67, 16, 10), (2, 0, 0.5, 0, 1)],
)
def test_images_of_a_batch_that_are_refined_or_light(batch, refined_share, light_share, refined, light):
    config = TrainingConfig(batch_size=batch, refined_share=refined_share, light_share=light_share)
    assert (config.refined_images, config.light_images) == (refined, light)


def test_budget_takes_whichever_ends_first():
    assert Budget(images=100).progress(25, 1e9) == 0.25
    assert Budget(minutes=2).progress(10**9, 30) == 0.25
    assert Budget(images=100, minutes=1).progress(50, 45) == 0.75
    assert Budget(images=100).progress(200, 0) == 1
