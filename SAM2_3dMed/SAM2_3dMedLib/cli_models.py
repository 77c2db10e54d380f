"""The command line `sam2-3dmed models`: only its options; what they do lives in `commands.models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

models_app = typer.Typer(help="List, verify, fetch and remove weights.", no_args_is_help=True, rich_markup_mode=None)


@models_app.command("list")
def list_command() -> None:
    """Which models there are, and where they lie."""
    from .commands.models import list_models

    list_models(Console())


@models_app.command("verify")
def verify_command(
    names: Annotated[list[str] | None, typer.Argument(help="Models or files; default: all on this computer.")] = None,
) -> None:
    """Compare weight files with their published SHA-256."""
    from .commands.models import verify_models

    print("\n".join(verify_models(names or [])))


@models_app.command("path")
def path_command(name: Annotated[str | None, typer.Argument(help="Default: the default model.")] = None) -> None:
    """Where a model's file lies."""
    from .weights.manifest import resolve_weights

    print(resolve_weights(name)[0])


@models_app.command("download")
def download_command(name: Annotated[str, typer.Argument(help="See `models list`.")]) -> None:
    """Fetch a model over HTTPS into your own folder; an interrupted download is continued."""
    from .commands.models import download_model

    print(download_model(name, Console(stderr=True)))


@models_app.command("remove")
def remove_command(name: Annotated[str, typer.Argument(help="See `models list`.")]) -> None:
    """Delete a downloaded model."""
    from .commands.models import remove_model

    print(f"{name} was removed." if remove_model(name) else f"{name} was not on this computer.")


@models_app.command("register", hidden=True)
def register_command(file: Annotated[Path, typer.Argument()], description: Annotated[str, typer.Option()] = "") -> None:
    """Publish a bundled weight file: write its size and SHA-256 into the manifest."""
    from .commands.models import register_model

    print(register_model(file, description))
