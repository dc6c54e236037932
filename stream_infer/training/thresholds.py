"""Where decisions change: by how much may be stopped, or by how often a stop must be right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.training import (
    AlertBudget,
    AlertGoals,
    Rows,
    choose_by_precision,
    choose_thresholds,
)
from stream_infer.scoring.manifest import Thresholds
from stream_infer.training.samples import Samples


@dataclass(frozen=True, slots=True)
class Aim:
    """What the thresholds are to keep.

    budget  shares of the payments that may be stopped; None where `goals` are given
    goals   how often stops must be right, by customers and days
    """

    budget: AlertBudget | None = None
    goals: AlertGoals | None = None

    def choose(self, scores: NDArray[np.float32], samples: Samples) -> Thresholds:
        """Return the thresholds for scores of rows that the model was not fitted on."""
        if self.goals is None:
            return choose_thresholds(scores, self.budget or AlertBudget())
        rows = Rows(samples.matrix, samples.truth, samples.day, samples.customer)
        return choose_by_precision(scores, rows, self.goals)

    def words(self) -> str:
        """Say it in words."""
        if self.goals is not None:
            return (
                f"lowest with {self.goals.review:.0%} of the stopped customers of a day right, and "
                f"{self.goals.decline:.0%} of the declined ones"
            )
        budget = self.budget or AlertBudget()
        return f"at most {budget.review:.2%} stopped and {budget.decline:.2%} declined"
