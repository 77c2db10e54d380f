"""What a run must remember between chunks: weights, their moving average, Adam's moments, random states, progress.

On a normal disk everything is kept in full, in one `state.safetensors`. Where only small files travel, `write_compact`
keeps weights and average in float16 (nano: 45 MB instead of 180 MB) and cuts the file into pieces; Adam's moments
are left out and are relearned in a short warm-up.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file

from ..network.build import build_network
from ..network.checkpoint import build_pretrained, load_checkpoint
from ..network.config import network_config
from ..network.model import SAM23dMed
from .recipe import Recipe, Stage

STATE_FILE = "state.safetensors"
COMPACT_STEM = "compact."
PIECE_BYTES = 15 * 2**20


class StateError(RuntimeError):
    """A saved state that cannot be resumed; the message says what to do next."""


@dataclass
class Progress:
    """Where a run is. `seconds` counts training time within the present stage; `rewarm` restarts the warm-up there."""

    stage: int = 0
    stage_step: int = 0
    stage_seconds: float = 0.0
    step: int = 0
    images: int = 0
    skipped: int = 0
    rewarm: int = 0


class TrainState:
    """Network, optimizer, moving average and random states of a run, on one device."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe = recipe
        self.device = device
        self.progress = Progress()
        self.rng = np.random.default_rng(recipe.seed)
        self.generator = torch.Generator(device).manual_seed(recipe.seed)
        torch.manual_seed(recipe.seed)
        stage = recipe.stages[0]
        self.network = _first_network(recipe, stage).to(device).train()
        self.optimizer = self._new_optimizer()
        self.ema = {name: value.detach().clone() for name, value in self.network.named_parameters()}

    def enter_stage(self, stage: Stage) -> None:
        """Rebuild the network for the stage's image size, if it differs, with the same weights and moments."""
        if self.network.config.image_size == stage.sampling.size:
            return
        moments = self._moments()
        config = network_config(self.recipe.network, stage.sampling.size, self.network.config.parts)
        network = build_network(config)
        network.load_state_dict(self.network.state_dict())
        self.network = network.to(self.device).train()
        self.optimizer = self._new_optimizer()
        self._set_moments(moments)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the exponential moving average; early steps use a shorter memory."""
        decay = min(self.recipe.ema_decay, (1 + self.progress.step) / (10 + self.progress.step))
        parameters = dict(self.network.named_parameters())
        torch._foreach_lerp_(list(self.ema.values()), [parameters[name].detach() for name in self.ema], 1.0 - decay)

    def averaged_network(self) -> SAM23dMed:
        """A copy of the network with the averaged weights, in evaluation mode."""
        network = build_network(self.network.config)
        network.load_state_dict({**self.network.state_dict(), **self.ema})
        return network.to(self.device).eval()

    # -- saving and loading -------------------------------------------------------------------------------------------

    def save(self, folder: Path, random_state: dict[str, Any] | None = None) -> Path:
        """Write everything to `folder/state.safetensors`; the file appears whole or not at all."""
        tensors = {f"weights.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.ema.items()}
        for name, entry in self._moments().items():
            tensors |= {f"adam.{key}.{name}": torch.as_tensor(value) for key, value in entry.items()}
        folder.mkdir(parents=True, exist_ok=True)
        path, partial = folder / STATE_FILE, folder / (STATE_FILE + ".partial")
        save_file(_plain(tensors), str(partial), metadata=self._facts(random_state))
        partial.replace(path)
        return path

    def write_compact(self, folder: Path, random_state: dict[str, Any] | None = None) -> list[Path]:
        """Write weights and average in float16 as pieces `compact.00`, ... of at most 15 MiB each."""
        tensors = {f"weights.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.ema.items()}
        data = save_bytes(_plain(tensors, half=True), metadata=self._facts(random_state))
        folder.mkdir(parents=True, exist_ok=True)
        pieces = []
        for number in range(math.ceil(len(data) / PIECE_BYTES)):
            piece = folder / f"{COMPACT_STEM}{number:02d}"
            piece.write_bytes(data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES])
            pieces.append(piece)
        return pieces

    def load(self, folder: Path) -> None:
        """Continue from what `save` or `write_compact` left in `folder`. Raises StateError if there is neither."""
        tensors, facts = read_state(folder)
        if facts["recipe"] != self.recipe.name:
            raise StateError(
                f"{folder} holds a run of recipe '{facts['recipe']}', not '{self.recipe.name}'; change --resume."
            )
        self.progress = Progress(**facts["progress"])
        self.enter_stage(self.recipe.stages[min(self.progress.stage, len(self.recipe.stages) - 1)])
        self.network.load_state_dict(_section(tensors, "weights."))
        # A state that holds the averaged weights alone (20 MB instead of 45) goes on from them.
        averaged = _section(tensors, "average.") or dict(self.network.named_parameters())
        self.ema = {name: value.detach().float().to(self.device).clone() for name, value in averaged.items()}
        moments: dict[str, dict[str, torch.Tensor]] = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            for name, value in _section(tensors, f"adam.{key}.").items():
                moments.setdefault(name, {})[key] = value
        self._set_moments(moments)
        if not moments:
            self.progress.rewarm = self.progress.stage_step
        self._restore_random(facts["random"])

    def part_from(self, rank: int) -> None:
        """Give process `rank` of several its own random draws; the first keeps the saved ones."""
        if rank > 0:
            self.rng = np.random.default_rng([self.recipe.seed, rank, self.progress.step])
            self.generator.manual_seed(int(self.rng.integers(2**62)))

    def random_state(self) -> dict[str, Any]:
        """The two generators' states, for JSON; taken before a batch is drawn, a resumed run draws it again."""
        return {
            "numpy": self.rng.bit_generator.state,
            "torch": self.generator.get_state().tolist(),
            "device": self.device.type,
        }

    def _restore_random(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["numpy"]
        if state["device"] == self.device.type:
            self.generator.set_state(torch.tensor(state["torch"], dtype=torch.uint8))

    def _facts(self, random_state: dict[str, Any] | None) -> dict[str, str]:
        facts = {
            "recipe": self.recipe.name,
            "progress": asdict(self.progress),
            "random": random_state or self.random_state(),
            "network": self.network.config.to_dict(),
        }
        return {"facts": json.dumps(facts)}

    # -- optimizer ----------------------------------------------------------------------------------------------------

    def _new_optimizer(self) -> torch.optim.AdamW:
        decayed, plain = [], []
        for name, parameter in self.network.named_parameters():
            if name.startswith(self.recipe.frozen) and self.recipe.frozen:
                parameter.requires_grad_(False)
                continue
            # Norms, biases and learned tokens are not pulled to zero.
            (decayed if parameter.ndim > 1 and "embed" not in name and "token" not in name else plain).append(parameter)
        groups = [{"params": decayed, "weight_decay": self.recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98), fused=self.device.type == "cuda")

    def _moments(self) -> dict[str, dict[str, torch.Tensor]]:
        names = {parameter: name for name, parameter in self.network.named_parameters()}
        return {names[parameter]: dict(entry) for parameter, entry in self.optimizer.state.items() if entry}

    def _set_moments(self, moments: dict[str, dict[str, torch.Tensor]]) -> None:
        parameters = dict(self.network.named_parameters())
        step_device = self.device if self.device.type == "cuda" else torch.device("cpu")
        for name, entry in moments.items():
            self.optimizer.state[parameters[name]] = {
                key: value.to(step_device if key == "step" else self.device).float().clone()
                for key, value in entry.items()
            }


def _first_network(recipe: Recipe, stage: Stage) -> SAM23dMed:
    if recipe.initial_weights and recipe.initial_weights.endswith(".safetensors"):
        network = build_network(network_config(recipe.network, stage.sampling.size, recipe.parts))
        weights = load_checkpoint(recipe.initial_weights)[0].state_dict()
        lacking = network.load_state_dict(weights, strict=False)
        if lacking.unexpected_keys:
            raise StateError(
                f"{recipe.initial_weights} has parts that the recipe switches off; switch them on in 'parts'."
            )
        return network  # what the file lacks (SRPP, parts just switched on) starts at its initialization
    if recipe.initial_weights:
        return build_pretrained(recipe.initial_weights, image_size=stage.sampling.size, parts=recipe.parts)
    return build_network(network_config(recipe.network, stage.sampling.size, recipe.parts))


def _plain(tensors: dict[str, torch.Tensor], half: bool = False) -> dict[str, torch.Tensor]:
    """Independent, contiguous tensors on the host, as safetensors wants them."""
    kind = {"dtype": torch.float16} if half else {}
    return {
        name: value.detach().to("cpu", **(kind if value.is_floating_point() else {})).contiguous().clone()
        for name, value in tensors.items()
    }


def _section(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def read_state(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and facts of a saved state, in full or compact. Raises StateError if `folder` has neither."""
    path = folder / STATE_FILE
    if path.is_file():
        with safe_open(str(path), framework="pt") as archive:
            facts = json.loads(archive.metadata()["facts"])
            return {name: archive.get_tensor(name) for name in archive.keys()}, facts  # noqa: SIM118  (no mapping)
    pieces = sorted(folder.glob(f"{COMPACT_STEM}[0-9][0-9]"))
    if not pieces:
        raise StateError(f"{folder} holds no saved training state; leave out --resume to start anew.")
    data = b"".join(piece.read_bytes() for piece in pieces)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return load_bytes(data), json.loads(header["__metadata__"]["facts"])
