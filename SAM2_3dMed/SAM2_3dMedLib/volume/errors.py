"""The one error of this package: a sentence for the user."""


class VolumeError(ValueError):
    """A volume, window or label map cannot be used; the message is one sentence that says what to do next."""
