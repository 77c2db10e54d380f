"""Fetching published weights into the user's store: resumed, verified, and whole or not there at all.

Only an explicit call gets here. Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`) by `urllib`.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from .manifest import WeightsEntry, find_weights, store_folder
from .verify import WeightsError, sha256_of, verify_file

ProgressCallback = Callable[[int, int], None]
"""Called with (bytes on disk, bytes in all); raising from it stops the download and keeps what is there."""

_BLOCK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 60.0
_SPARE_BYTES = 64 << 20  # room that is left free on the disk
_HTTPS_ONLY = frozenset({"https"})


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an allowed scheme: HTTPS must not fall back to HTTP."""

    def __init__(self, schemes: Collection[str]) -> None:
        self._schemes = schemes

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl, self._schemes)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str, schemes: Collection[str]) -> None:
    if urllib.parse.urlsplit(url).scheme not in schemes:
        raise WeightsError(f"The address {url} is not an https address; weights are fetched over HTTPS only.")


def download_weights(
    entry: WeightsEntry,
    folder: Path | None = None,
    progress: ProgressCallback | None = None,
    *,
    url: str | None = None,
    schemes: Collection[str] = _HTTPS_ONLY,
) -> Path:
    """Fetch one published file into the user's store and return its path.

    A partial file `<name>.part` of an earlier try is continued with an HTTP range request; the file gets its name only
    after its SHA-256 was found right. A file that is there and right is not fetched again.

    Args:
        folder: default `store_folder()`; created when missing.
        url: a mirror instead of the manifest's source.
        schemes: tests of this function pass `{"http"}` for a server on the loopback interface.

    Raises:
        WeightsError: no network, no room, a damaged or changed file; what to do stands in the message.
    """
    source = url or entry.source
    if url is None and entry.is_bundled:
        raise WeightsError(
            f"The weights '{entry.name}' come with the software and are not downloaded; install it again."
        )
    _check_scheme(source, schemes)
    folder = folder or store_folder()
    target, partial = folder / entry.file, folder / (entry.file + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file() and sha256_of(target) == entry.sha256:
            return target
        _check_room(folder, entry, partial)
        opener = urllib.request.build_opener(_CheckedRedirects(schemes))
        _fetch(opener, source, entry, partial, progress)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"The weights '{entry.name}' could not be fetched from {source} ({reason}); check the network and the "
            "proxy (HTTPS_PROXY) and try again: the download continues where it stopped."
        ) from error
    except OSError as error:
        raise WeightsError(
            f"The weights cannot be written to {folder} ({error.strerror}); free some room or set SAM2_3DMED_HOME."
        ) from error
    try:
        verify_file(partial, entry.sha256)
    except WeightsError as error:
        partial.unlink(missing_ok=True)
        raise WeightsError(
            f"What {source} sent is not the published file (its SHA-256 differs), so it was deleted; try again later."
        ) from error
    os.replace(partial, target)
    return target


def remove_weights(entry: WeightsEntry, folder: Path | None = None) -> bool:
    """Delete a downloaded file and its partial download from the user's store; True when there was one.

    Bundled files are never deleted.
    """
    folder = folder or store_folder()
    removed = False
    for path in (folder / entry.file, folder / (entry.file + ".part")):
        if path.is_file():
            path.unlink()
            removed = True
    return removed


def is_available(entry: WeightsEntry) -> bool:
    """Whether the file is on this computer, in whatever folder; its content is not checked."""
    return find_weights(entry) is not None


def _check_room(folder: Path, entry: WeightsEntry, partial: Path) -> None:
    present = partial.stat().st_size if partial.is_file() else 0
    needed = entry.size - present + _SPARE_BYTES
    if shutil.disk_usage(folder).free < needed:
        raise WeightsError(
            f"There is no room for '{entry.name}' in {folder}: {needed / 1e6:.0f} MB are needed; free some, or set "
            "SAM2_3DMED_HOME to a folder on another disk."
        )


def _fetch(
    opener: urllib.request.OpenerDirector,
    source: str,
    entry: WeightsEntry,
    partial: Path,
    progress: ProgressCallback | None,
) -> None:
    """Bring `partial` to the entry's size; continue it where the server allows, else start again."""
    present = partial.stat().st_size if partial.is_file() else 0
    if present > entry.size:
        partial.unlink()
        present = 0
    if present == entry.size:
        return
    request = urllib.request.Request(source, headers={"User-Agent": "sam2-3dmed"})
    if present:
        request.add_header("Range", f"bytes={present}-")
    with opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
        if present and not _continues(response, present):
            present = 0
        with partial.open("ab" if present else "wb") as stream:
            while block := response.read(_BLOCK_BYTES):
                present += len(block)
                stream.write(block)
                if present > entry.size:
                    return  # not the published file; its checksum will say so
                if progress is not None:
                    progress(present, entry.size)
    if present < entry.size:
        raise ConnectionError(f"the connection ended after {present} of {entry.size} bytes")


def _continues(response: HTTPResponse, start: int) -> bool:
    """Whether the answer is the rest of the file from `start` on (206), not the whole file (200)."""
    content_range = response.headers.get("Content-Range", "")
    return response.status == 206 and content_range.startswith(f"bytes {start}-")
