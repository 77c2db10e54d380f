"""What a user can do wrong, and what a device can refuse, each as one sentence that says what to do next."""

from __future__ import annotations


class PromptError(ValueError):
    """A prompt or a request that cannot be answered; nothing of the session was changed."""


class DeviceMemoryError(RuntimeError):
    """The device has too little memory even for one slice; what was finished is kept."""
