"""The file that `sam2-3dmed train` reads: which data, which recipe, and how the result is evaluated.

    data:                         # where the cases are; --data and --fold on the command line replace path and fold
      path: Task09_Spleen.tar     # MSD or nnU-Net folder, tar of one, or a manifest
      fold: 0                     # of five; null: train on all (manifest: on its split 'train')
    recipe: nano.yaml             # a file beside this one, or the table itself (training/recipe.py)
    evaluation: {protocols: [box], window: abdomen}

A recipe alone is such a file too. Paths start from the file's own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .data_layouts import Layout
from .recipe import Recipe, RecipeError, build_section, read_yaml, recipe_from_dict

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_WEIGHTS = "default"  # as `initial_weights`: the weights that come with this software


@dataclass(frozen=True)
class DataSection:
    """Where the labeled cases are, and which of them train.

    Attributes:
        path: folder with a dataset.json, tar archive of one, or manifest (CSV).
        layout: "auto", "msd", "nnunet" or "manifest".
        root: folder that a manifest's paths start from; default: the manifest's own.
        channel: channel of images that have several.
        fold: 0 to 4; the others train and this one validates. None: all cases train; in a manifest those of split
            `train`, and those of split `val` validate.
        splits: folds of your own (nnU-Net's `splits_final.json`); default: five made from the names, see `splits`.
    """

    path: str = ""
    layout: str = "auto"
    root: str | None = None
    channel: int = 0
    fold: int | None = 0
    splits: str | None = None

    def __post_init__(self) -> None:
        known = [layout.value for layout in Layout]
        if self.layout not in known:
            raise RecipeError(f"data.layout must be one of {', '.join(known)}, not '{self.layout}'.")


@dataclass(frozen=True)
class EvaluationSection:
    """How the fold's validation cases are evaluated after the training.

    Attributes:
        protocols: of `sam2-3dmed evaluate`; none: no evaluation.
        weights: "final" (the last step's) or "best" (of the best validation). The latter were chosen by the very cases
            that are evaluated, so that their table is a little too good.
        window: intensity window, as `sam2-3dmed evaluate --window`.
        limit: at most so many cases of each data set.
    """

    protocols: tuple[str, ...] = ("box",)
    weights: str = "final"
    window: str = "auto"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.weights not in ("final", "best"):
            raise RecipeError(f"evaluation.weights must be 'final' or 'best', not '{self.weights}'.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that `sam2-3dmed train` reads from a file."""

    recipe: Recipe
    data: DataSection = field(default_factory=DataSection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)


def find_config(name: str) -> Path:
    """A file, or one of the recipes that come with this software by its name. Raises RecipeError if it is neither."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = {entry.stem: entry for entry in sorted(RECIPES.glob("*.yaml"))}
    if name in shipped:
        return shipped[name]
    raise RecipeError(f"There is no file {name} and no recipe of that name; the recipes are {', '.join(shipped)}.")


def read_config(path: Path) -> TrainConfig:
    """Read a configuration, or a recipe alone. Raises RecipeError if an entry is wrong or missing."""
    values = read_yaml(path)
    if not isinstance(values, Mapping):
        raise RecipeError(f"{path} must be a table with the entries data, recipe and evaluation.")
    if "stages" in values:
        values = {"recipe": values}
    unknown = sorted(set(values) - {"data", "recipe", "evaluation"})
    if unknown:
        raise RecipeError(f"{path} has no entry '{unknown[0]}'; it has data, recipe and evaluation.")
    if "recipe" not in values:
        raise RecipeError(f"{path} has no recipe; give a table or the name of a file.")
    data = build_section(DataSection, values.get("data") or {}, "data")
    return TrainConfig(
        recipe=_recipe(values["recipe"], path),
        data=replace(
            data, path=_beside(path, data.path), root=_beside(path, data.root), splits=_beside(path, data.splits)
        ),
        evaluation=build_section(EvaluationSection, values.get("evaluation") or {}, "evaluation"),
    )


def _recipe(given: Any, config: Path) -> Recipe:
    file = config
    if isinstance(given, str):
        file = config.parent / given if (config.parent / given).is_file() else find_config(given)
        given = read_yaml(file)
    recipe = recipe_from_dict(given)
    if recipe.initial_weights in (None, DEFAULT_WEIGHTS):
        return recipe
    return replace(recipe, initial_weights=_beside(file, recipe.initial_weights))


def _beside(config: Path, given: str | None) -> str | None:
    """A path of the file as seen from the working directory, where it may start too."""
    if not given or Path(given).is_absolute():
        return given
    beside = config.parent / given
    return given if Path(given).exists() and not beside.exists() else str(beside)
