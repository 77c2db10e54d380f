"""What the user did wrong, told in one sentence; every such end of a command has exit code 2."""

from __future__ import annotations

from ..propagation.errors import ran_out_of_memory

BAD_INPUT = 2
_SAM2 = "SAM2_BUILD_CUDA=0 pip install --no-deps --no-build-isolation sam2==1.1.0"
_PACKAGE = __package__.rpartition(".")[0]


class UserError(Exception):
    """Input that a command cannot use; the message is one sentence that says what to do next."""


def sentence_for(error: BaseException) -> str | None:
    """The sentence for the user, or None when the error is a defect of this software and its traceback is wanted.

    Every exception class that this package defines carries a sentence for users; others do so only where listed here.
    """
    if type(error).__module__.partition(".")[0] == _PACKAGE:
        return " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != _PACKAGE:
        missing = error.name.partition(".")[0]
        if missing == "sam2":  # no requirement of this package: pip would build it with a second torch and CUDA
            return f"The package 'sam2' is missing; after torch, install it with: {_SAM2}"
        return f"The package '{missing}' is missing; install it with: pip install 'sam2-3dmed[train]' (see README)."
    if ran_out_of_memory(error):
        return (
            "The memory of this computer or of its graphics card is too small for this; use a crop, or smaller numbers."
        )
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or error}; check that the path exists and can be written."
    return None
