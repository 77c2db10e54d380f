"""Turns a training state into a weight file: `python -m SAM2_3dMedLib.training.export --resume DIR --output FILE`.

The averaged weights are exported, at the image size of the network's name rather than that of the last stage, since no
weight depends on it.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..network.build import build_network
from ..network.checkpoint import CheckpointMetadata, save_checkpoint
from ..network.config import NetworkConfig
from .state_files import StateError, read_state


def export(resume: Path, output: Path, metadata: CheckpointMetadata, image_size: int | None = None) -> int:
    """Write the averaged weights of a state as a float16 checkpoint; the number of training steps behind them.

    Raises StateError if `resume` holds no state.
    """
    tensors, facts = read_state(resume)
    config = NetworkConfig.from_dict(facts["network"])
    network = build_network(replace(config, image_size=image_size or config.image_size))
    weights = {name.removeprefix("weights."): t.float() for name, t in tensors.items() if name.startswith("weights.")}
    weights |= {name.removeprefix("average."): t.float() for name, t in tensors.items() if name.startswith("average.")}
    network.load_state_dict(weights)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(output, network, metadata)
    return int(facts["progress"]["step"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `python -m SAM2_3dMedLib.training.export`."""
    parser = argparse.ArgumentParser(description="Write the averaged weights of a training state as a weight file.")
    parser.add_argument("--resume", type=Path, required=True, help="folder of the state, in full or compact")
    parser.add_argument("--output", type=Path, required=True, help="ends in .safetensors")
    parser.add_argument("--name", default="sam2-3dmed-nano")
    parser.add_argument("--version", default="0")
    parser.add_argument("--training-data", nargs="*", default=[], help="data sets with their licences")
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument("--commit", default="")
    parser.add_argument("--notes", default="")
    parser.add_argument("--image-size", type=int, default=None)
    options = parser.parse_args(arguments)
    metadata = CheckpointMetadata(
        name=options.name,
        version=options.version,
        training_data=tuple(options.training_data),
        licence=options.licence,
        commit=options.commit,
        created=datetime.date.today().isoformat(),
        notes=options.notes,
    )
    try:
        steps = export(options.resume, options.output, metadata, options.image_size)
    except StateError as error:
        print(error)
        return 2
    print(f"{options.output} after {steps} steps, {options.output.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
