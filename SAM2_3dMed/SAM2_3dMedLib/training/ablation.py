"""The ablation of the paper's parts: every arm from the same trained encoder, frozen, at equal budget, several seeds.

    python -m SAM2_3dMedLib.training.ablation --packs TRAIN --test-packs VAL UNSEEN --output DIR

Each finished run appends its objects to `results.jsonl`; the same command again goes on with the runs that are not
there, so that it can be spread over many short sessions. `ablation_table` makes the table of it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ..network.config import Parts
from ..network.model import SAM23dMed
from ..propagation.policies import BracketedMemoryPolicy, MemoryPolicy, Sam2MemoryPolicy
from ..propagation.predictor import SlicePredictor
from .loop import chosen_device
from .pack import PackedCase, read_pack
from .packed_evaluation import PackedResult, evaluate_packed
from .recipe import Recipe, read_recipe
from .store import CaseStore, load_store
from .trainer import Trainer

RESULTS_FILE = "results.jsonl"
RECIPE = Path(__file__).parent / "recipes" / "ablation.yaml"
POLICIES: dict[str, MemoryPolicy] = {"bracketed": BracketedMemoryPolicy(), "sam2": Sam2MemoryPolicy()}


@dataclass(frozen=True)
class Arm:
    """One variant of network and clip.

    Attributes:
        parts: what is switched on; everything else is SAM2.
        slices: D, slices of a training clip; the batch changes with it, so that a step sees as many slices.
        policies: memory policies to evaluate with, by name.
    """

    name: str
    parts: Parts
    slices: int = 12
    policies: tuple[str, ...] = ("bracketed",)


ARMS: tuple[Arm, ...] = (
    Arm("plain SAM2", Parts.none()),
    # The paper's own arrangement: SRPP reads the frozen encoder, nothing of it reaches the segmentation (method.md).
    Arm("SRPP, literal", Parts(srpp=True)),
    Arm("adapter", Parts(adapter=True)),
    Arm("adapter + SRPP", Parts(adapter=True, srpp=True)),
    Arm("BD", Parts(bd=True)),
    Arm("BD + fusion", Parts(bd=True, bd_fusion=True)),
    Arm("all", Parts.all(), policies=("bracketed", "sam2")),
    Arm("all, D = 6", Parts.all(), slices=6),
    Arm("all, D = 3", Parts.all(), slices=3),
)


@dataclass(frozen=True)
class AblationRow:
    """One object of one run."""

    arm: str
    seed: int
    policy: str
    split: str
    result: PackedResult
    train_seconds: float
    parameters: int


def arm_recipe(base: Recipe, arm: Arm, seed: int) -> Recipe:
    """The recipe of one run: the base's steps, with the arm's parts and as many slices a step as the base."""
    stages = []
    for stage in base.stages:
        clips = max(1, round(stage.batch * stage.sampling.slices / arm.slices))
        stages.append(replace(stage, batch=clips, sampling=replace(stage.sampling, slices=arm.slices)))
    return replace(base, name=f"{base.name}: {arm.name}", parts=arm.parts, seed=seed, stages=tuple(stages))


def run_arm(
    base: Recipe, arm: Arm, seed: int, store: CaseStore, tests: dict[str, Sequence[PackedCase]], device: torch.device
) -> list[AblationRow]:
    """Train one arm with one seed and evaluate its averaged weights with each of its policies."""
    started = time.perf_counter()
    trainer = Trainer(arm_recipe(base, arm, seed), store, device, holdout=CaseStore())
    trainer.run()
    seconds = time.perf_counter() - started
    network = trainer.state.averaged_network()
    del trainer
    return list(_evaluated(network, arm, seed, tests, device, seconds))


def _evaluated(
    network: SAM23dMed,
    arm: Arm,
    seed: int,
    tests: dict[str, Sequence[PackedCase]],
    device: torch.device,
    train_seconds: float,
) -> Iterator[AblationRow]:
    predictor = SlicePredictor(network, device)
    count = sum(parameter.numel() for name, parameter in network.named_parameters() if "slice_position" not in name)
    for policy in arm.policies:
        for split, cases in tests.items():
            for case in cases:
                for result in evaluate_packed(predictor, case, POLICIES[policy]):
                    yield AblationRow(arm.name, seed, policy, split, result, train_seconds, count)


def finished_runs(path: Path) -> set[tuple[str, int]]:
    """(arm, seed) of every run in a results file; none where there is no file."""
    if not path.is_file():
        return set()
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {(row["arm"], row["seed"]) for row in rows}


def append_run(path: Path, rows: Sequence[AblationRow]) -> None:
    """Add a run's rows in one write."""
    text = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)


def _chosen_tests(folders: Sequence[Path], per_dataset: int) -> dict[str, list[PackedCase]]:
    """At most so many cases of each data set, by the name of the folder that they come from."""
    tests: dict[str, list[PackedCase]] = {}
    for folder in folders:
        cases = [case for path in sorted(folder.glob("*.npz")) for case in read_pack(path)]
        cases.sort(key=lambda case: (case.info.dataset, case.info.case))
        taken: dict[str, int] = {}
        for case in cases:
            taken[case.info.dataset] = taken.get(case.info.dataset, 0) + 1
            if taken[case.info.dataset] <= per_dataset:
                tests.setdefault(folder.name, []).append(case)
    return tests


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `python -m SAM2_3dMedLib.training.ablation`."""
    began = time.monotonic()
    options = _parser().parse_args(arguments)
    device = chosen_device(options.device)
    base = read_recipe(options.recipe)
    store = load_store(sorted(options.packs.glob("*.npz")), device)
    tests = _chosen_tests(options.test_packs, options.cases_per_dataset)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / RESULTS_FILE
    longest = 0.0
    for seed in options.seeds:  # every arm once before any arm twice
        for arm in ARMS:
            if (options.arms and arm.name not in options.arms) or (arm.name, seed) in finished_runs(path):
                continue
            started = time.monotonic()
            if started + longest > began + options.minutes * 60:
                print("The time is up; the same command goes on with the runs that are not there yet.")
                return 0
            rows = run_arm(base, arm, seed, store, tests, device)
            append_run(path, rows)
            longest = max(longest, time.monotonic() - started)
            mean = sum(row.result.dice for row in rows) / len(rows)
            print(f"{arm.name}, seed {seed}: mean Dice {mean:.3f} of {len(rows)} rows, {longest:.0f} s", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train and evaluate the arms of the ablation.")
    parser.add_argument("--packs", type=Path, required=True, help="folder of packs to train on")
    parser.add_argument(
        "--test-packs",
        type=Path,
        nargs="+",
        required=True,
        help="folders of packs to evaluate on, called as they are",
    )
    parser.add_argument("--output", type=Path, required=True, help=f"folder of {RESULTS_FILE}")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="steps, data and schedule that all arms share")
    parser.add_argument("--arms", nargs="*", choices=[arm.name for arm in ARMS], help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cases-per-dataset", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=1e6, help="start no run that would not end within")
    parser.add_argument("--device", default="auto")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
