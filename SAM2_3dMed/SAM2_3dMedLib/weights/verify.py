"""Is a weight file the one that was published?"""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK_BYTES = 1 << 20


class WeightsError(RuntimeError):
    """Weights that are missing, damaged or cannot be fetched; the message is one sentence that says what to do next."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 lower-case hexadecimal digits.

    Raises:
        WeightsError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise WeightsError(f"The weight file {path} cannot be read ({error.strerror}); check the path.") from error
    return digest.hexdigest()


def verify_file(path: Path, expected_sha256: str) -> None:
    """Do nothing when the file has the expected content.

    Raises:
        WeightsError: it cannot be read, or its SHA-256 differs.
    """
    if sha256_of(path) != expected_sha256.lower():
        raise WeightsError(
            f"The weight file {path} is damaged or was changed (its SHA-256 is not the published one); "
            "delete it and fetch it again."
        )
