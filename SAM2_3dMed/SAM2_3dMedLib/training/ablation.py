"""The ablation of the paper's parts: every arm from the same trained encoder, frozen, at equal budget, several seeds.

    python -m SAM2_3dMedLib.training.ablation --packs TRAIN --test-packs VAL UNSEEN --output DIR

First the common start is trained and evaluated, then every arm from it, `--processes` at a time; two on each GPU gain,
since one captures graphs or evaluates, for which it needs the host most, while the other trains. Each finished run
appends its objects to `results.jsonl`; the same command again goes on with the runs that are not there, so that it can
be spread over many short sessions. `ablation_table` makes the tables of it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from .ablation_arms import ARMS, START, AblationRow, Arm
from .ablation_bench import ArmRun, Bench, chosen_tests
from .ablation_budget import Budget, cost_line, prepare, read_budget, write_budget
from .ablation_workers import Job, Workers
from .files import write_text_whole
from .loop import chosen_device
from .recipe import read_recipe
from .run_log import finite_facts
from .store import load_store

RESULTS_FILE = "results.jsonl"
TRAINING_FILE = "training.jsonl"
RECIPE = Path(__file__).parent / "recipes" / "ablation.yaml"


def finished_runs(path: Path) -> set[tuple[str, int]]:
    """(arm, seed) of every run in a results file; none where there is no file."""
    if not path.is_file():
        return set()
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {(row["arm"], row["seed"]) for row in rows}


def append_rows(path: Path, rows: Iterable[AblationRow]) -> None:
    """Add a run's rows, all or none."""
    _append(path, (asdict(row) for row in rows))


def open_bench(options: argparse.Namespace, number: int = 0) -> Bench:
    """What process `number` works with, on the GPU of its number."""
    device = chosen_device(options.device)
    if device.type == "cuda":
        device = torch.device("cuda", number % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if options.processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.processes))
    return Bench(
        base=read_recipe(options.recipe),
        store=load_store(sorted(options.packs.glob("*.npz")), device),
        tests=chosen_tests(options.test_packs, options.cases_per_dataset),
        device=device,
        start=options.start or options.output,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `python -m SAM2_3dMedLib.training.ablation`. Exit code 1 when a run failed."""
    began = time.time()
    options = _read_options(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    arms = [arm for arm in ARMS if not options.arms or arm.name in options.arms]
    if options.usual_trial:
        arms = [replace(arm, trials=arm.trials[:1]) for arm in arms]
    bench = None
    budget = read_budget(options.start or options.output)
    if budget is None:
        bench = open_bench(options)
        budget = _prepared(options, bench, arms)
    if options.only_start:
        return 0
    done = finished_runs(options.output / RESULTS_FILE)
    jobs = [Job(arm, seed) for seed in options.seeds for arm in arms if (arm.name, seed) not in done]
    deadline = began + options.minutes * 60
    if options.processes == 1:
        return _run_here(bench or open_bench(options), options, budget, jobs, deadline)
    del bench
    workers = Workers(options, budget, deadline, jobs)
    for run in workers.runs():
        _keep(options.output, run)
    return _closing(len(workers.left), workers.failures)


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options, and folders that hold packs: found out before the common start is trained, which takes minutes."""
    known = parser()
    options = known.parse_args(arguments)
    for folder in (options.packs, *options.test_packs):
        if not any(folder.glob("*.npz")):
            known.error(f"{folder} holds no packs (*.npz).")
    if len({folder.name for folder in options.test_packs}) < len(options.test_packs):
        known.error("Two folders of --test-packs have one name, by which results are told apart; rename one.")
    return options


def _prepared(options: argparse.Namespace, bench: Bench, arms: Sequence[Arm]) -> Budget:
    seconds = None if options.fit_minutes is None else options.fit_minutes * 60
    prepared = prepare(bench, arms, len(options.seeds), options.processes, seconds)
    results = options.output / RESULTS_FILE
    # The budget comes last: a kill before it has all of this done again, and the rows are there or not.
    if (START, 0) not in finished_runs(results):
        append_rows(results, prepared.rows)
    write_budget(bench.start, prepared.budget)
    mean = sum(row.result.dice for row in prepared.rows) / len(prepared.rows)
    print(f"{START}: mean Dice {mean:.3f} of {len(prepared.rows)} rows; {prepared.budget}", flush=True)
    return prepared.budget


def _run_here(bench: Bench, options: argparse.Namespace, budget: Budget, jobs: Sequence[Job], deadline: float) -> int:
    longest = budget.longest_run([job.arm for job in jobs]) if jobs else 0.0
    for number, job in enumerate(jobs):
        if time.time() + longest > deadline:
            return _closing(len(jobs) - number, [])
        run = bench.run(job.arm, job.seed, budget.steps, budget.mode)
        longest = max(longest, run.seconds)
        _keep(options.output, run)
    return 0


def _keep(folder: Path, run: ArmRun) -> None:
    append_rows(folder / RESULTS_FILE, run.rows)
    _append(folder / TRAINING_FILE, ({"arm": run.arm, "seed": run.seed, **finite_facts(facts)} for facts in run.facts))
    mean = sum(row.result.dice for row in run.rows) / len(run.rows)
    cost = cost_line(run.rows[0].cost)
    print(f"{run.arm}, seed {run.seed}: mean Dice {mean:.3f} of {len(run.rows)} rows, {run.seconds:.0f} s ({cost})")


def _closing(left: int, failures: Sequence[str]) -> int:
    for failure in failures:
        print(failure)
    if left:
        print(f"{left} runs are left; the same command goes on with them.", flush=True)
    return 1 if failures else 0


def _append(path: Path, tables: Iterable[dict]) -> None:
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_text_whole(path, before + "".join(json.dumps(table) + "\n" for table in tables))


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(description="Train and evaluate the arms of the ablation.")
    parser.add_argument("--packs", type=Path, required=True, help="folder of packs to train on")
    parser.add_argument(
        "--test-packs",
        type=Path,
        nargs="+",
        required=True,
        help="folders of packs to evaluate on, called as they are",
    )
    parser.add_argument("--output", type=Path, required=True, help=f"folder of {RESULTS_FILE} and {TRAINING_FILE}")
    parser.add_argument("--start", type=Path, help="folder of the common start and the budget; default: --output")
    parser.add_argument("--only-start", action="store_true", help="make the common start and the budget, and end")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="steps, data and schedule that all arms share")
    parser.add_argument("--arms", nargs="*", choices=[arm.name for arm in ARMS], help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cases-per-dataset", type=int, default=6)
    parser.add_argument("--processes", type=int, default=1, help="runs at a time; the GPUs are dealt out to them")
    parser.add_argument("--usual-trial", action="store_true", help="one box, the bracketed policy: no memory policies")
    parser.add_argument("--minutes", type=float, default=1e6, help="start no run that would not end within")
    parser.add_argument("--fit-minutes", type=float, help="give every arm as many steps as let all runs end within")
    parser.add_argument("--device", default="auto")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
