"""What a run starts from: the first network, and which of its parameters are trained."""

from __future__ import annotations

from dataclasses import replace

from ..network.build import build_network
from ..network.checkpoint import build_pretrained, load_checkpoint
from ..network.config import network_config
from ..network.model import SAM23dMed
from .recipe import Recipe, RecipeError

ANY_SIZE = "auto"  # as `network`: whatever the initial weights are
# Modules that a weight file may lack: the paper's parts, which start at their initialization when they are switched on.
PART_MODULES = ("adapter.", "slice_position.", "boundary.", "boundary_fusion.")


def first_network(recipe: Recipe) -> SAM23dMed:
    """The network of a recipe before its first step, on the CPU, at the first stage's image size.

    Raises:
        RecipeError: the initial weights are of another size, or have parts that the recipe switches off.
        CheckpointError: the initial weights cannot be read.
    """
    size = recipe.stages[0].sampling.size
    path = recipe.initial_weights
    if not path:
        if recipe.network == ANY_SIZE:
            raise RecipeError("'network: auto' takes the size of the initial weights; give initial_weights or a size.")
        return build_network(network_config(recipe.network, size, recipe.parts))
    if not path.endswith(".safetensors"):
        network = build_pretrained(path, image_size=size, parts=recipe.parts)
        _require_size(recipe, network.config.name)
        return network
    given = load_checkpoint(path)[0]
    _require_size(recipe, given.config.name)
    network = build_network(replace(given.config, image_size=size, parts=recipe.parts))
    skipped = recipe.initial_skipped
    taken = {k: v for k, v in given.state_dict().items() if not any(_within(k, part) for part in skipped)}
    lacking = network.load_state_dict(taken, strict=False)
    if lacking.unexpected_keys:
        raise RecipeError(f"{path} has parts that the recipe switches off; switch them on in 'parts'.")
    for name in lacking.missing_keys:
        if not name.startswith(PART_MODULES) and not any(_within(name, part) for part in skipped):
            raise RecipeError(f"{path} lacks '{name}'; choose a weight file of this version.")
    return network


def _require_size(recipe: Recipe, found: str) -> None:
    if recipe.network not in (found, ANY_SIZE):
        raise RecipeError(
            f"{recipe.initial_weights} is of size '{found}', the recipe asks for '{recipe.network}'; "
            f"write 'network: {found}' into the recipe or choose other initial weights."
        )


def freeze(network: SAM23dMed, recipe: Recipe) -> None:
    """Switch off the gradient of what the recipe freezes.

    Raises:
        RecipeError: an entry of `frozen` or `unfrozen` names nothing in the network.
    """
    names = [name for name, _ in network.named_parameters()]
    for entry in ("frozen", "unfrozen"):
        for part in getattr(recipe, entry):
            if not any(_within(name, part) for name in names):
                raise RecipeError(f"{entry}: the network has no part '{part}'; {_suggestion(names, part)}")
    for name, parameter in network.named_parameters():
        held = any(_within(name, part) for part in recipe.frozen)
        freed = any(_within(name, part) for part in recipe.unfrozen)
        parameter.requires_grad_(not held or freed)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise RecipeError("The recipe freezes every parameter; leave some to train.")


def _within(name: str, part: str) -> bool:
    """Whole dotted names: `trunk.blocks.1` holds `trunk.blocks.1.mlp`, not `trunk.blocks.10`."""
    return name == part or name.startswith(part + ".")


def _suggestion(names: list[str], part: str) -> str:
    """The parts there are, as deep as the longest beginning of `part` that exists."""
    beginning = part
    while beginning and not any(_within(name, beginning) for name in names):
        beginning = beginning.rpartition(".")[0]
    depth = beginning.count(".") + 2 if beginning else 1
    found = dict.fromkeys(".".join(n.split(".")[:depth]) for n in names if not beginning or _within(n, beginning))
    return f"it has {', '.join(list(found)[:12])}."
