"""Fetching weights from a real HTTP server on the loopback interface."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from SAM2_3dMedLib.weights.download import download_weights, remove_weights
from SAM2_3dMedLib.weights.manifest import WeightsEntry, WeightsError

CONTENT = bytes(range(256)) * 8192  # 2 MiB: several blocks
LOOPBACK_ONLY = frozenset({"http"})


class Server(ThreadingHTTPServer):
    """Serves CONTENT; what it does wrong is chosen by the test."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.stop_after: int | None = None
        self.honors_range = True
        self.redirect_to: str | None = None
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        requested = self.headers.get("Range")
        server.ranges.append(requested)
        if server.redirect_to:
            self.send_response(302)
            self.send_header("Location", server.redirect_to)
            self.end_headers()
            return
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested and server.honors_range else 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if server.stop_after is None else body[: server.stop_after])

    def log_message(self, *args):
        """Quiet."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def entry():
    digest = hashlib.sha256(CONTENT).hexdigest()
    return WeightsEntry("w", "weights.pt", digest, len(CONTENT), "MIT", "tiny", "https://example.org/weights.pt")


def fetch(entry, folder, server, progress=None):
    return download_weights(entry, folder, progress, url=server.url, schemes=LOOPBACK_ONLY)


def test_file_arrives_whole_with_progress_and_is_not_fetched_twice(server, entry, tmp_path):
    seen = []
    path = fetch(entry, tmp_path / "new" / "store", server, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(entry, path.parent, server) == path
    assert len(server.ranges) == 1
    assert [p.name for p in path.parent.iterdir()] == ["weights.pt"]


def test_broken_connection_is_resumed_where_it_stopped(server, entry, tmp_path):
    server.stop_after = 700_000
    with pytest.raises(WeightsError, match="continues where it stopped"):
        fetch(entry, tmp_path, server)
    assert not (tmp_path / "weights.pt").exists()
    kept = (tmp_path / "weights.pt.part").stat().st_size
    assert 0 < kept <= 700_000
    server.stop_after = None
    assert fetch(entry, tmp_path, server).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={kept}-"]


def test_server_without_ranges_starts_again(server, entry, tmp_path):
    (tmp_path / "weights.pt.part").write_bytes(b"old" * 1000)
    server.honors_range = False
    assert fetch(entry, tmp_path, server).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT + b"more"], ids=["changed", "longer"])
def test_other_content_is_refused_and_deleted(server, entry, tmp_path, content):
    server.content = content
    with pytest.raises(WeightsError, match="not the published file"):
        fetch(entry, tmp_path, server)
    assert list(tmp_path.iterdir()) == []


def test_cancel_from_the_callback_keeps_the_part(server, entry, tmp_path):
    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(entry, tmp_path, server, cancel)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pt.part"]


def test_damaged_file_in_the_store_is_replaced(server, entry, tmp_path):
    (tmp_path / "weights.pt").write_bytes(bytes(len(CONTENT)))
    assert fetch(entry, tmp_path, server).read_bytes() == CONTENT


def test_only_https_also_after_a_redirect(server, entry, tmp_path):
    with pytest.raises(WeightsError, match="HTTPS only"):
        download_weights(entry, tmp_path, url=server.url)
    server.redirect_to = "ftp://127.0.0.1/weights.pt"
    with pytest.raises(WeightsError, match=r"could not be fetched|HTTPS only"):
        fetch(entry, tmp_path, server)
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_one_sentence(server, entry, tmp_path):
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match="check the network and the proxy"):
        download_weights(entry, tmp_path, url=url, schemes=LOOPBACK_ONLY)


def test_proxy_of_the_environment_is_used(server, entry, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", server.url)
    path = download_weights(entry, tmp_path, url="http://weights.invalid/weights.pt", schemes=LOOPBACK_ONLY)
    assert path.read_bytes() == CONTENT


def test_folder_that_cannot_be_made_and_full_disk_say_what_to_do(server, entry, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="SAM2_3DMED_HOME"):
        fetch(entry, tmp_path / "file" / "store", server)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(WeightsError, match="no room"):
        fetch(entry, tmp_path, server)


def test_remove(server, entry, tmp_path):
    fetch(entry, tmp_path, server)
    assert remove_weights(entry, tmp_path)
    assert not remove_weights(entry, tmp_path)
    assert list(tmp_path.iterdir()) == []
