"""What a run must remember between chunks: weights, their moving average, Adam's moments, random states, progress.

On a normal disk everything is kept in full. Where only small files travel, `write_compact` keeps weights and average
in float16 (nano: 45 MB instead of 180 MB); Adam's moments are left out and are relearned in a short warm-up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..network.build import build_network
from ..network.model import SAM23dMed
from .initial import PART_MODULES, first_network, freeze
from .random_states import Randomness
from .recipe import Recipe, Stage, differing_entry, recipe_to_dict
from .state_files import StateError, read_state, write_pieces, write_state

RATE = "rate"  # in the optimizer's groups: learning rate relative to the stage's

__all__ = ["RATE", "Progress", "StateError", "TrainState"]


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        stage, stage_step, stage_seconds: the present stage and what it has had (seconds of training time).
        step, images, skipped: updates, images and left-out updates of the whole run.
        rewarm: the warm-up starts again at this step of the stage.
        validated: the step of the last validation.
        best, best_step: the best validation so far, and its step.
    """

    stage: int = 0
    stage_step: int = 0
    stage_seconds: float = 0.0
    step: int = 0
    images: int = 0
    skipped: int = 0
    rewarm: int = 0
    validated: int = -1
    best: float | None = None
    best_step: int = 0


class TrainState:
    """Network, optimizer, moving average and random states of a run, on one device.

    `data` says in words which cases the run sees; a state of other cases is not resumed.

    Raises:
        RecipeError, CheckpointError: the recipe's initial weights or frozen parts do not exist or do not fit.
    """

    def __init__(self, recipe: Recipe, device: torch.device, data: str = "") -> None:
        self.recipe = recipe
        self.device = device
        self.data = data
        self.progress = Progress()
        self.randomness = Randomness(recipe.seed, device)
        self.rng, self.generator = self.randomness.rng, self.randomness.generator
        self.network = first_network(recipe).to(device).train()
        self.optimizer = self._new_optimizer()
        self.ema = {name: value.detach().clone() for name, value in self.network.named_parameters()}

    def enter_stage(self, stage: Stage) -> None:
        """Rebuild the network for the stage's image size, if it differs, with the same weights and moments."""
        if self.network.config.image_size == stage.sampling.size:
            return
        moments = self._moments()
        network = build_network(replace(self.network.config, image_size=stage.sampling.size))
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

    def averaged_network(self, image_size: int | None = None) -> SAM23dMed:
        """A copy of the network with the averaged weights, in evaluation mode."""
        size = image_size or self.network.config.image_size
        with self.randomness.aside():  # a new network draws its initialization
            network = build_network(replace(self.network.config, image_size=size))
        network.load_state_dict({**self.network.state_dict(), **self.ema})
        return network.to(self.device).eval()

    # -- saving and loading -------------------------------------------------------------------------------------------

    def save(self, folder: Path, random_states: Sequence[dict[str, Any]] = ()) -> Path:
        """Write everything to `folder/state.safetensors`.

        Args:
            random_states: of every process in the order of their ranks (`Randomness.snapshot`); none: this one's.
        """
        tensors = self._tensors()
        for name, entry in self._moments().items():
            tensors |= {f"adam.{key}.{name}": torch.as_tensor(value) for key, value in entry.items()}
        return write_state(folder, tensors, self._facts(random_states))

    def write_compact(self, folder: Path, random_states: Sequence[dict[str, Any]] = ()) -> list[Path]:
        """Write weights and average in float16, in pieces of at most 15 MiB, without Adam's moments."""
        return write_pieces(folder, self._tensors(), self._facts(random_states))

    def load(self, folder: Path, rank: int = 0) -> None:
        """Continue, as process `rank`, from what `save` or `write_compact` left in `folder`.

        Raises:
            StateError: there is neither, or it belongs to another recipe or to other cases.
        """
        tensors, facts = read_state(folder)
        self._require_same_run(folder, facts)
        self.progress = Progress(**{"validated": facts["progress"]["step"], **facts["progress"]})  # 0.2.0 has it not
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
        saved = facts["random"] if isinstance(facts["random"], list) else [facts["random"]]  # 0.2.0: the first one's
        self.randomness.restore(saved[min(rank, len(saved) - 1)])
        if rank >= len(saved):
            self.randomness.part_from(rank, self.progress.step)

    def _require_same_run(self, folder: Path, facts: dict[str, Any]) -> None:
        if facts["recipe"] != self.recipe.name:
            raise StateError(
                f"{folder} holds a run of recipe '{facts['recipe']}', not '{self.recipe.name}'; choose another folder."
            )
        difference = differing_entry(facts.get("recipe_content"), recipe_to_dict(self.recipe))
        if difference is not None:
            raise StateError(
                f"{folder} holds a run whose {difference.entry} is {difference.saved!r}, and the recipe says "
                f"{difference.given!r}; give the run's own recipe, or start anew in another folder."
            )
        data = facts.get("data")
        if data and self.data and data != self.data:
            raise StateError(
                f"{folder} holds a run on other cases ({data}; now {self.data}); give it the same data, or start anew "
                "in another folder."
            )

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {f"weights.{name}": value for name, value in self.network.state_dict().items()}
        return tensors | {f"average.{name}": value for name, value in self.ema.items()}

    def _facts(self, random_states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "recipe_content": recipe_to_dict(self.recipe),
            "data": self.data,
            "progress": asdict(self.progress),
            "random": list(random_states) or [self.randomness.snapshot()],
            "network": self.network.config.to_dict(),
        }

    # -- optimizer ----------------------------------------------------------------------------------------------------

    def _new_optimizer(self) -> torch.optim.AdamW:
        freeze(self.network, self.recipe)
        groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = defaultdict(list)
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                # Norms, biases and learned tokens are not pulled to zero.
                decays = parameter.ndim > 1 and "embed" not in name and "token" not in name
                groups[decays, name.startswith(PART_MODULES)].append(parameter)
        tables = [
            {
                "params": parameters,
                "weight_decay": self.recipe.weight_decay if decays else 0.0,
                RATE: self.recipe.parts_rate if part else 1.0,
            }
            for (decays, part), parameters in groups.items()
        ]
        return torch.optim.AdamW(tables, lr=1e-4, betas=(0.9, 0.98), fused=self.device.type == "cuda")

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


def _section(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
