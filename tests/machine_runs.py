"""Run a Hypothesis state machine as a test."""

from __future__ import annotations

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run_machine(
    machine: type[RuleBasedStateMachine], *, examples: int, steps: int, always_the_same: bool = False
) -> None:
    """Let it live so many times, so many steps each; `always_the_same`: with the same steps in every run."""
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=always_the_same,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
