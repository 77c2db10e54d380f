"""Runs of the ablation spread over processes, one a GPU: each takes the next run that nobody has taken."""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from .ablation_arms import Arm
from .ablation_bench import ArmRun, Bench
from .ablation_budget import Budget

_LOOK_SECONDS = 2.0  # between two looks whether all processes live
_FAILURES = 2  # in a row, after which a process ends: an error of CUDA leaves it of no use, and it would take all jobs


@dataclass(frozen=True)
class Job:
    """One run."""

    arm: Arm
    seed: int


@dataclass(frozen=True)
class Failed:
    """A run has ended by an error; no process takes it up again."""

    text: str


class Workers:
    """Processes that share a list of jobs.

    Attributes:
        left: jobs that nobody finished, complete when `runs` has ended.
        failures: what ended runs, or processes before their time.
    """

    def __init__(self, options: argparse.Namespace, budget: Budget, deadline: float, jobs: Sequence[Job]) -> None:
        """
        Args:
            options: of `ablation`.
            deadline: `time.time`; no run is started that would not end before.
        """
        self.left = list(jobs)
        self.failures: list[str] = []
        # A forked process cannot use CUDA after its parent has.
        context = multiprocessing.get_context("spawn")
        self._jobs, self._answers = context.Queue(), context.Queue()
        self._jobs.cancel_join_thread()  # jobs that the time did not allow may stay in it
        for job in [*jobs, *[None] * options.processes]:
            self._jobs.put(job)
        self._processes: list[BaseProcess] = [
            context.Process(
                target=work, args=(number, options, budget, deadline, self._jobs, self._answers), daemon=True
            )
            for number in range(options.processes)
        ]

    def runs(self) -> Iterator[ArmRun]:
        """Start the processes; yields runs as they are finished, until no process works any more."""
        for process in self._processes:
            process.start()
        while True:
            living = any(process.is_alive() for process in self._processes)
            try:
                answer = self._answers.get(timeout=_LOOK_SECONDS if living else 0.1)
            except queue.Empty:
                if living:
                    continue
                break
            if isinstance(answer, Failed):
                self.failures.append(answer.text)
                continue
            self.left = [job for job in self.left if (job.arm.name, job.seed) != (answer.arm, answer.seed)]
            yield answer
        codes = [process.exitcode for process in self._processes]
        self.failures += [f"Process {n} ended with exit code {code}." for n, code in enumerate(codes) if code]


def work(
    number: int,
    options: argparse.Namespace,
    budget: Budget,
    deadline: float,
    jobs: multiprocessing.Queue,
    answers: multiprocessing.Queue,
) -> None:
    """Take jobs until there is a None, the time is up, or two in a row have failed; put `ArmRun` or `Failed` for each.

    Args:
        number: of the process.
        deadline: `time.time`; no run is started that would not end before.
    """
    from .ablation import open_bench

    bench: Bench | None = None
    longest, failed = 0.0, 0
    while failed < _FAILURES and (job := jobs.get()) is not None:
        longest = max(longest, budget.longest_run([job.arm]))
        if time.time() + longest > deadline:
            return
        try:
            bench = bench or open_bench(options, number)
            run = bench.run(job.arm, job.seed, budget.steps, budget.mode)
        except Exception:
            failed += 1
            answers.put(Failed(f"Process {number}, {job.arm.name}, seed {job.seed}: {traceback.format_exc()}"))
        else:
            longest, failed = max(longest, run.seconds), 0
            answers.put(run)
