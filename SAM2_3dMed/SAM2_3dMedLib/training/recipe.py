"""A training recipe: frozen data classes read from YAML, every entry checked by name and type of section."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ..network.config import Parts
from .augment import AugmentSettings
from .losses import LossWeights
from .sampling import SamplingSettings
from .scenario import PromptSettings


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the entry."""


@dataclass(frozen=True)
class Stage:
    """A part of the training with settings of its own; it ends after `steps` or after `minutes` of training time.

    Attributes:
        kind: "images" (every slice on its own) or "clips" (propagation with memory).
        batch: clips at once; each has sampling.slices images of sampling.size pixels.
        accumulate: batches whose gradients are averaged for one step.
        learning_rate, final_learning_rate: start and end of a cosine, after a linear warm-up of `warmup_steps`.
        synthetic_share: clips whose target is synthetic.
        scenarios: 0: every step draws what happens in it. Else each step takes one of so many scenarios, the same
            through the whole stage, which CUDA replays as graphs (`gradients`): several times faster, 2 s each to
            start.
    """

    name: str
    kind: str
    batch: int
    sampling: SamplingSettings
    steps: int | None = None
    minutes: float | None = None
    accumulate: int = 1
    learning_rate: float = 6e-4
    final_learning_rate: float = 1e-5
    warmup_steps: int = 200
    synthetic_share: float = 0.4
    scenarios: int = 0
    prompts: PromptSettings = field(default_factory=PromptSettings)
    losses: LossWeights = field(default_factory=LossWeights)
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    def __post_init__(self) -> None:
        if self.kind not in ("images", "clips"):
            raise RecipeError(f"Stage '{self.name}': kind must be 'images' or 'clips', not '{self.kind}'.")
        if (self.steps is None) == (self.minutes is None):
            raise RecipeError(f"Stage '{self.name}': give either steps or minutes.")
        if self.batch < 1 or self.accumulate < 1:
            raise RecipeError(f"Stage '{self.name}': batch and accumulate must be at least 1.")
        if self.scenarios < 0 or (self.scenarios and self.kind != "clips"):
            raise RecipeError(f"Stage '{self.name}': scenarios must be 0 or more, and 0 where the kind is 'images'.")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run but the data and the machine.

    Attributes:
        network: size name of `network.config.network_config`; "auto": that of the initial weights.
        initial_weights: checkpoint to start from (ours, Meta's or MedSAM2's); none means from scratch.
        initial_skipped: parts of the initial weights that are not taken, by their dotted names; they start anew, or are
            not built at all.
        frozen: parts of the network that are not trained, by their dotted names, e.g. "image_encoder".
        unfrozen: parts within the frozen ones that are trained all the same, e.g. "image_encoder.neck".
        parts_rate: the paper's parts learn at so many times the stage's rate; more than 1 where they are new and the
            rest is pretrained.
        datasets: data sets of the packs to use; empty means all of them.
        precision: "bf16" (autocast) or "fp32".
        holdout: share of the cases of each larger data set that is kept for the validation, where none are given.
        validation_clips: clips of the held-out cases that a validation looks at.
        validate_every: steps between validations; 0: at the end of each stage.
        save_every_seconds: time between two saved states.
        max_bad_steps: steps in a row without a finite gradient after which the run stops.
    """

    name: str
    stages: tuple[Stage, ...]
    network: str = "nano"
    parts: Parts = field(default_factory=Parts)
    initial_weights: str | None = None
    initial_skipped: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    unfrozen: tuple[str, ...] = ()
    parts_rate: float = 1.0
    datasets: tuple[str, ...] = ()
    seed: int = 1
    precision: str = "bf16"
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    holdout: float = 0.04
    validation_clips: int = 48
    validate_every: int = 0
    save_every_seconds: float = 240.0
    log_every: int = 20
    max_bad_steps: int = 20

    def __post_init__(self) -> None:
        if self.precision not in ("bf16", "fp32"):
            raise RecipeError(f"precision must be 'bf16' or 'fp32', not '{self.precision}'.")
        if self.parts_rate <= 0:
            raise RecipeError(f"parts_rate must be above 0, not {self.parts_rate}.")
        if not self.stages:
            raise RecipeError("The recipe has no stages; give at least one.")


# What may change while a run goes on: how long it takes, what is looked at on the way, where it once started from.
_FREE_ENTRIES = frozenset(
    {"log_every", "validation_clips", "validate_every", "save_every_seconds", "max_bad_steps", "initial_weights"}
)
_FREE_STAGE_ENTRIES = frozenset({"steps", "minutes"})


@dataclass(frozen=True)
class Difference:
    """An entry in which two recipes differ."""

    entry: str
    saved: Any
    given: Any


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON has it: nested tables and lists."""
    return json.loads(json.dumps(asdict(recipe)))


def differing_entry(saved: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Difference | None:
    """The first entry that decides a run's results and differs between two `recipe_to_dict`; None when there is none.

    Entries that only one of them knows are not compared: they came with another version of this software.
    """
    return _first_difference(saved, given, "", _FREE_ENTRIES) if saved else None


def _first_difference(saved: Any, given: Any, where: str, free: frozenset[str] = frozenset()) -> Difference | None:
    if isinstance(saved, Mapping) and isinstance(given, Mapping):
        pairs = [
            (f"{where}.{name}".strip("."), saved[name], given[name]) for name in saved if name in given.keys() - free
        ]
    elif isinstance(saved, list) and isinstance(given, list) and len(saved) == len(given):
        pairs = [(f"{where}[{number}]", *both) for number, both in enumerate(zip(saved, given, strict=True))]
    else:
        return None if saved == given else Difference(where, saved, given)
    inner = _FREE_STAGE_ENTRIES if where == "stages" else frozenset()
    return next(filter(None, (_first_difference(one, other, name, inner) for name, one, other in pairs)), None)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from nested tables. Raises RecipeError for unknown, missing or misplaced entries."""
    return build_section(Recipe, values, "recipe")


def read_recipe(path: Path) -> Recipe:
    """Read a YAML recipe. Raises RecipeError if it is no table or has a wrong entry."""
    return recipe_from_dict(read_yaml(path))


def read_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises RecipeError if it cannot be read."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"The recipe {path} cannot be read: {' '.join(str(error).split())}") from error


def build_section(kind: type, values: Any, where: str) -> Any:
    """A frozen data class from a table of its entries, nested ones included.

    Raises RecipeError, which names the entry by its place under `where`.
    """
    if not isinstance(values, Mapping):
        raise RecipeError(f"{where} must be a table of entries, not {type(values).__name__}.")
    known = {entry.name for entry in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise RecipeError(f"{where} has no entry '{unknown[0]}'; it has {', '.join(sorted(known))}.")
    hints = get_type_hints(kind)
    built = {name: _value(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return kind(**built)
    except TypeError as error:
        raise RecipeError(f"{where} is incomplete: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return build_section(hint, value, where)
    if getattr(hint, "__origin__", None) is tuple:
        if not isinstance(value, (list, tuple)):
            raise RecipeError(f"{where} must be a list.")
        element = get_args(hint)[0]
        return tuple(_value(element, item, f"{where}[{n}]") for n, item in enumerate(value))
    # PyYAML reads 6e-4 as a string (YAML 1.1 wants 6.0e-4); a number is meant.
    if hint in (float, float | None) and value is not None:
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"{where} must be a number, not {value!r}.") from error
    if hint in (int, int | None) and value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise RecipeError(f"{where} must be a whole number, not {value!r}.")
    if hint in (str, str | None) and value is not None and not isinstance(value, str):
        raise RecipeError(f"{where} must be text, not {value!r}.")
    if hint is bool and not isinstance(value, bool):
        raise RecipeError(f"{where} must be true or false, not {value!r}.")
    return value
