#!/usr/bin/env python3
"""Put pip into a virtual environment of a Python without ensurepip, as Debian's and Ubuntu's python3 is without
python3-venv. Standard library only; `setup_and_run.py` calls it.

    python3 pip_for_venv.py PYTHON      the interpreter of the virtual environment

Environment: `PIP_INDEX_URL` and `PIP_CERT`, as pip reads them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

_PIP_WHEEL = re.compile(r"pip-(?P<version>\d+(\.\d+)+)-py3-none-any\.whl")


def install_pip(python: Path) -> int:
    """Fetch pip's wheel from the index and let it install itself for `python`; its exit code."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    try:
        page = fetch(index).decode("utf-8", "replace")
        links = [html.unescape(link) for link in re.findall(r"""href\s*=\s*["']([^"']+)""", page)]
        wheels = [(wheel, link) for link in links if (wheel := _PIP_WHEEL.search(link))]
        wheel, link = max(wheels, key=lambda found: tuple(map(int, found[0]["version"].split("."))))
        content = fetch(urllib.parse.urljoin(index, link))
    except (OSError, ValueError) as error:
        sys.exit(
            f"This Python has no pip, and none can be fetched from {hidden(index)} ({error}); install pip's package "
            "(Debian and Ubuntu: apt-get install python3-venv), or set PIP_INDEX_URL."
        )
    published = re.search(r"#sha256=([0-9a-f]{64})", link)
    if published and hashlib.sha256(content).hexdigest() != published[1]:
        sys.exit(f"{wheel[0]} from {hidden(index)} is not the published file; try again.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / wheel[0]
        path.write_bytes(content)
        # A wheel of pip runs as it is.
        return subprocess.call([str(python), str(path / "pip"), "install", "--no-index", "--no-compile", str(path)])


def fetch(address: str) -> bytes:
    """The content at an https, http or file address, with the credentials in it and pip's certificates."""
    parts = urllib.parse.urlsplit(address)
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    request = urllib.request.Request(bare)
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    with urllib.request.urlopen(request, timeout=60, context=context) as response:
        return response.read()


def hidden(address: str) -> str:
    """An address as it may be shown: without user and password."""
    return re.sub(r"//[^/@]*@", "//", address)


if __name__ == "__main__":
    sys.exit(install_pip(Path(sys.argv[1])))
