"""Recipes: what is wrong in one is named, and what a run starts from and trains is what it says."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.checkpoint import load_checkpoint
from SAM2_3dMedLib.network.config import network_config
from SAM2_3dMedLib.training.config import read_config
from SAM2_3dMedLib.training.initial import freeze
from SAM2_3dMedLib.training.recipe import RecipeError, differing_entry, recipe_to_dict
from SAM2_3dMedLib.training.state import TrainState

CPU = torch.device("cpu")
RECIPES = Path(__file__).parents[2] / "SAM2_3dMed" / "SAM2_3dMedLib" / "training" / "recipes"
BUNDLED = RECIPES.parents[3] / "Resources" / "Weights" / "sam2-3dmed-nano.safetensors"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_that_we_ship_reads(path):
    assert read_config(path).recipe.name == path.stem


def test_the_guides_example_reads_and_starts(tmp_path) -> None:
    guide = (RECIPES.parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(guide.split("```yaml\n")[1].split("```")[0])
    config = read_config(tmp_path / "mine.yaml")
    assert config.data.path == str(tmp_path / "Task09_Spleen.tar")
    assert config.recipe.stages[0].accumulate == 2
    state = TrainState(replace(config.recipe, initial_weights=str(BUNDLED)), CPU)
    trained = {name for name, parameter in state.network.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} > {"image_encoder", "memory_attention", "boundary"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "no entry 'colour'"),
        ({"stages": []}, "no stages"),
        ({"precision": "fp8"}, "precision must be"),
        ({"parts": [1]}, "must be a table"),
        ({"seed": 1.5}, "whole number"),
        ({"ema_decay": "much"}, "must be a number"),
        ({"stages": [{"name": "x", "kind": "images", "batch": 1, "sampling": {}}]}, "either steps or minutes"),
        ({"stages": [{"name": "x", "kind": "volumes", "batch": 1, "sampling": {}, "steps": 1}]}, "kind must be"),
        ({"stages": [{"name": "x"}]}, "incomplete"),
    ],
)
def test_a_wrong_recipe_names_the_entry(small_recipe, change, message):
    with pytest.raises(RecipeError, match=message):
        small_recipe(**change)


def test_training_goes_on_from_the_bundled_weights(small_recipe) -> None:
    recipe = small_recipe(initial_weights=str(BUNDLED))
    state = TrainState(recipe, CPU)
    published = load_checkpoint(BUNDLED)[0].state_dict()
    assert all(torch.equal(state.network.state_dict()[name], value) for name, value in published.items())
    with pytest.raises(RecipeError, match="switches off"):
        TrainState(small_recipe(initial_weights=str(BUNDLED), parts={}), CPU)


def _trained(network, recipe) -> set[str]:
    freeze(network, recipe)
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_frozen_parts_are_whole_dotted_names(small_recipe) -> None:
    network = TrainState(small_recipe(), CPU).network
    block = "image_encoder.trunk.blocks.1"
    trained = _trained(network, small_recipe(frozen=[block]))
    assert not any(name.startswith(block + ".") for name in trained)
    assert any(name.startswith("image_encoder.trunk.blocks.2.") for name in trained)
    # A name of the same beginning is another part.
    partly = _trained(network, small_recipe(frozen=["image_encoder.trunk.pos_embed"]))
    assert "image_encoder.trunk.pos_embed" not in partly
    assert "image_encoder.trunk.pos_embed_window" in partly


def test_part_of_a_frozen_encoder_can_be_trained(small_recipe) -> None:
    network = TrainState(small_recipe(), CPU).network
    trained = _trained(network, small_recipe(frozen=["image_encoder"], unfrozen=["image_encoder.neck"]))
    assert any(name.startswith("image_encoder.neck.") for name in trained)
    assert not any(name.startswith("image_encoder.trunk.") for name in trained)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"frozen": ["image_encodr"]}, "no part 'image_encodr'; it has .*image_encoder"),
        ({"frozen": ["image_encoder.trunk.blocks.11"]}, r"no part .*; it has image_encoder.trunk.blocks.0"),
        ({"unfrozen": ["image_encoder.nek"]}, "unfrozen: .*image_encoder.neck"),
    ],
)
def test_a_part_that_does_not_exist_is_named_with_those_that_do(small_recipe, entries, message) -> None:
    with pytest.raises(RecipeError, match=message):
        TrainState(small_recipe(**entries), CPU)


def test_initial_weights_of_another_size_are_named(small_recipe) -> None:
    with pytest.raises(RecipeError, match="is of size 'nano', the recipe asks for 'tiny'"):
        TrainState(small_recipe(initial_weights=str(BUNDLED), network="tiny"), CPU)


def test_training_starts_from_a_checkpoint_in_metas_layout(small_recipe, tmp_path) -> None:
    plain = build_network(network_config("tiny", 64)).state_dict()
    torch.save({"model": plain}, tmp_path / "sam2.1_hiera_tiny.pt")
    recipe = small_recipe(initial_weights=str(tmp_path / "sam2.1_hiera_tiny.pt"), network="auto")
    state = TrainState(recipe, CPU)
    assert state.network.config.name == "tiny"
    assert state.network.config.image_size == 64
    started = state.network.state_dict()
    assert all(torch.equal(started[name], value) for name, value in plain.items())
    assert any(name.startswith("adapter.") for name in started)


def test_what_differs_between_two_recipes_is_told_by_its_place(small, small_recipe) -> None:
    saved = recipe_to_dict(small_recipe())
    assert differing_entry(saved, recipe_to_dict(small_recipe(log_every=7, initial_weights="moved.pt"))) is None
    longer = [small["stages"][0] | {"steps": None, "minutes": 3.0}, small["stages"][1]]
    assert differing_entry(saved, recipe_to_dict(small_recipe(stages=longer))) is None
    faster = [small["stages"][0], small["stages"][1] | {"learning_rate": 0.5}]
    found = differing_entry(saved, recipe_to_dict(small_recipe(stages=faster)))
    assert (found.entry, found.given) == ("stages[1].learning_rate", 0.5)
    assert differing_entry(saved, recipe_to_dict(small_recipe(stages=faster[:1]))).entry == "stages"
    older = {name: value for name, value in saved.items() if name != "unfrozen"}
    assert differing_entry(older, recipe_to_dict(small_recipe())) is None
