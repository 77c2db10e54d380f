"""What the user did wrong, told in one sentence; every such end of a command has exit code 2."""

from __future__ import annotations

BAD_INPUT = 2
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
        return f"The package '{error.name}' is missing; install it with: pip install 'sam2-3dmed[train]' (see README)."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or error}; check that the path exists and can be written."
    return None
