"""Training on packs, in chunks of limited time, each resuming where the last one stopped.

    python -m SAM2_3dMedLib.training.loop --packs DIR --recipe FILE --minutes 9 --resume DIR --output DIR

For machines that have neither the volumes nor SimpleITK. `--resume` keeps the full state on a normal disk; `--output`
receives the compact state and the log (see `state`). Where the volumes are, `sam2-3dmed train` does it all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..network.checkpoint import CheckpointError
from .distributed import join_processes
from .pack import CaseInfo, PackError
from .recipe import RecipeError, read_recipe
from .resuming import take_up
from .run_log import LOG_FILE, RunLog
from .state_files import StateError
from .store import load_store
from .trainer import RunFolders, Trainer, TrainingError

CLOSING_SECONDS = 20.0  # validation, two saves and the interpreter's end


def chosen_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, with TF32 for what autocast leaves in float32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else torch.device(name)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    # No cudnn.benchmark: prompt kinds make other batch sizes in every step, and each new one would be tuned anew.
    # cuDNN's attention builds a graph for every new shape too, and its backward pass failed on an H200 with torch 2.11
    # (mha_graph.execute); flash attention does neither.
    torch.backends.cuda.enable_cudnn_sdp(False)
    return device


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `python -m SAM2_3dMedLib.training.loop`. Exit code 2 for input that cannot be used."""
    started = time.monotonic()
    options = _parser().parse_args(arguments)
    try:
        trainer = _train(options, started)
    except (CheckpointError, PackError, RecipeError, StateError, TrainingError) as error:
        print(error)
        return 2
    done = "done" if trainer.finished else "to be continued"
    print(f"step {trainer.state.progress.step}, {done}, {time.monotonic() - started:.0f} s")
    return 0


def _train(options: argparse.Namespace, started: float) -> Trainer:
    recipe = read_recipe(options.recipe)
    processes, device = join_processes(chosen_device(options.device))

    def keep(info: CaseInfo) -> bool:
        return not recipe.datasets or info.dataset in recipe.datasets

    store = load_store(sorted(options.packs.glob("*.npz")), device, keep)
    log = RunLog(options.output / LOG_FILE)
    trainer = Trainer(recipe, store, device, [log], processes, folders=RunFolders(state=options.resume))
    take_up(trainer, options.resume, log)
    loaded = time.monotonic() - started
    print(f"{len(store.cases)} cases loaded after {loaded:.0f} s, step {trainer.state.progress.step}")
    trainer.run(started + options.minutes * 60.0 - min(CLOSING_SECONDS, options.minutes * 6.0))
    if options.resume:
        trainer.save(options.resume)  # first of all: what follows takes time, which may be up
    if not trainer.finished:
        trainer.validate()
    if options.resume:
        trainer.save(options.resume)
    trainer.save_compact(options.output)
    processes.close()
    return trainer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train a network by a recipe, for a limited time.")
    parser.add_argument("--packs", type=Path, required=True, help="folder of *.npz written by training.pack")
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="wall-clock limit of this chunk, loading and saving included"
    )
    parser.add_argument("--resume", type=Path, help="folder of the full state: continued if it has one, and written")
    parser.add_argument("--output", type=Path, required=True, help="folder for the compact state and the log")
    parser.add_argument("--device", default="auto")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
