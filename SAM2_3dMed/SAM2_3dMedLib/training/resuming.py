"""Puts a trainer where its run stands: at the last saved state, or at the start."""

from __future__ import annotations

from pathlib import Path

from .files import remove_partial
from .run_log import RunLog
from .state_files import StateError, has_state
from .trainer import Trainer


def take_up(trainer: Trainer, folder: Path | None, log: RunLog) -> None:
    """Go on from the state in `folder`, if it has one; the log loses the steps that the state does not have,
    and what a kill left half-written is removed.

    Every process has to call it.

    Raises:
        StateError: the state is damaged or of another run, or the processes do not all see the same one.
    """
    state, processes = trainer.state, trainer.processes
    if folder is not None and has_state(folder):
        state.load(folder, processes.rank)
    else:
        state.randomness.part_from(processes.rank, 0)
    stands = processes.gather((state.progress.step, state.data))
    if len(set(stands)) > 1:
        found = "; ".join(f"process {rank}: step {step}, {data}" for rank, (step, data) in enumerate(stands))
        raise StateError(
            f"The processes do not start alike ({found}); all hosts need the same data and one output folder that they "
            "share."
        )
    if processes.first:
        if folder is not None:
            remove_partial(folder)
        log.go_on_from(state.progress)
