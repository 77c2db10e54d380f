"""What a user can do wrong, and what a device can refuse, each as one sentence that says what to do next."""

from __future__ import annotations


class PromptError(ValueError):
    """A prompt or a request that cannot be answered; nothing of the session was changed."""


class DeviceMemoryError(RuntimeError):
    """The device has too little memory even for one slice; what was finished is kept."""


# Beside torch's class for a full card: of the computer's own memory (Linux and macOS, Windows) and of MPS it has only
# words.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU or host allocation has failed: numpy's, and torch's on CUDA, MPS and the CPU of each system."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)
