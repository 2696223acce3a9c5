"""Downloads by the real apt-helper: from a server of our own, and (long) from the mirror."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rvvm.py import images
from rvvm.py.images import apt, apt_tool, unpack

CONTENT = bytes(range(256)) * 4096
needs_apt = pytest.mark.skipif(not Path(apt_tool.HELPER).exists(), reason="no apt here")


class Server(http.server.BaseHTTPRequestHandler):
    """One file, with ranges; `ranges` lists what was asked for."""

    ranges: list[str | None] = []  # noqa: RUF012
    modified = "Sat, 01 Feb 2025 10:00:00 GMT"

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.ranges.append(wanted)
        fresh = self.headers["If-Range"] in (None, self.modified)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and fresh else 0
        self.send_response(206 if start else 200)
        self.send_header("Last-Modified", self.modified)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(CONTENT[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a file; apt's own part, finding it, is left out."""
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{running.server_port}/some.deb"
        monkeypatch.setattr(apt_tool, "run", lambda *command: f"'{uri}' some.deb 1 SHA256:0")
        (apt_tool.home() / "apt.conf").write_text('Acquire::http::Proxy "DIRECT";')
        Server.ranges.clear()
        yield uri
        running.shutdown()


def package(digest: str = "") -> apt.Package:
    digest = digest or hashlib.sha256(CONTENT).hexdigest()
    return apt.Package("some", "1:1.0", "riscv64", len(CONTENT), digest)


@needs_apt
def test_download(server: str) -> None:
    assert apt.fetch(package()).read_bytes() == CONTENT
    apt.fetch(package())
    assert Server.ranges == [None]  # the second found it


@needs_apt
def test_resumed(server: str) -> None:
    path = package().path
    path.parent.mkdir()
    path.write_bytes(CONTENT[:1000])
    apt._date(path, f"HTTP/1.1 200 OK\nlast-modified: {Server.modified}\r\n")
    assert apt.fetch(package()).read_bytes() == CONTENT
    assert Server.ranges == ["bytes=1000-"]


@needs_apt
def test_wrong_content_is_refused(server: str) -> None:
    with pytest.raises(images.store.UserError, match="cannot fetch|wrong SHA256"):
        apt.fetch(package(digest="00" * 32))
    assert not apt.is_cached(package(digest="00" * 32))


def test_damaged_file_is_not_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path))
    path = package().path
    path.parent.mkdir()
    path.write_bytes(b"x" + CONTENT[1:])
    assert not apt.is_cached(package())


@needs_apt
@pytest.mark.long
def test_real_mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RVVM_CACHE", str(tmp_path))
    assert len(images.fetch("opensbi", progress=False).read_bytes()) > 100_000
    busybox = apt.fetch(apt.find("busybox-static"), progress=False)
    assert unpack.file(busybox, "usr/bin/busybox")[:4] == b"\x7fELF"
