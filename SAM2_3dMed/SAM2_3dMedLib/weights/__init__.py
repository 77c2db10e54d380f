"""Which weights exist, where they lie, how to get them, and whether a file is the one that was published.

Standard library only: Slicer imports this at start, before torch is there.
"""

from .manifest import (
    ManifestError,
    WeightsEntry,
    WeightsError,
    default_weights,
    find_weights,
    read_manifest,
    resolve_weights,
    store_folder,
)
from .verify import sha256_of, verify_file

__all__ = [
    "ManifestError",
    "WeightsEntry",
    "WeightsError",
    "default_weights",
    "find_weights",
    "read_manifest",
    "resolve_weights",
    "sha256_of",
    "store_folder",
    "verify_file",
]
