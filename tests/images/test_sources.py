"""Which mirror the host's apt sources name."""

from __future__ import annotations

import pytest

from rvvm.py.errors import UserError
from rvvm.py.images import apt_tool, deb822, sources

STANZAS = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian http://second.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""

LINES = """\
deb [arch=amd64 signed-by=/etc/keys/tool.gpg] https://tool.example/linux/debian bookworm stable
deb-src http://mirror.example/debian trixie main
# deb http://commented.example/debian trixie main
deb cdrom:[Debian]/ trixie main
deb http://mirror.example/debian trixie main contrib # main archive
"""


def test_stanzas() -> None:
    found = list(sources.stanzas(STANZAS))
    assert [source.uri for source in found] == [
        "http://mirror.example/debian",
        "http://second.example/debian",
        "http://mirror.example/debian-security",
    ]
    assert found[0].suites == {"bookworm", "bookworm-updates"}
    assert sources.mirror(found) == "http://mirror.example/debian"


def test_lines() -> None:
    found = list(sources.one_line(LINES))
    assert found[0].signed_by == "/etc/keys/tool.gpg"
    assert sources.mirror(found) == "http://mirror.example/debian"


def test_debians_own_key_beats_others() -> None:
    foreign = sources.Source("http://a.example/debian", frozenset({"trixie"}), frozenset({"main"}))
    own = sources.Source("http://b.example/x", foreign.suites, foreign.components, "debian-archive")
    assert sources.mirror([foreign, own]) == own.uri


def test_no_mirror_is_one_line() -> None:
    with pytest.raises(UserError, match="RVVM_DEBIAN_MIRROR"):
        sources.mirror(sources.one_line("deb http://other.example/ubuntu noble main"))


def test_own_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RVVM_DEBIAN_MIRROR", "http://own.example/debian")
    assert sources.host_mirror() == "http://own.example/debian"


def test_paragraphs_join_continued_lines() -> None:
    (record,) = deb822.paragraphs("Package: a\nDepends: b (>= 1),\n c | d,\n\te\n")
    assert list(deb822.depends(record)) == ["b", "c", "d", "e"]


def test_configuration_keeps_the_hosts_network_and_nothing_else(tmp_path: object) -> None:
    host = 'Acquire::http::Proxy "http://proxy.example:3128";\nAPT::Update::Post-Invoke:: "rm";\n'
    conf, listed = apt_tool.configuration(tmp_path, "http://m.example/debian", "/keys", host)  # type: ignore[arg-type]
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in conf
    assert "Post-Invoke" not in conf
    assert listed == "deb [signed-by=/keys] http://m.example/debian trixie main\n"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("Ign:1 x\nE: Failed to fetch y\nE: Some index files\n", "Failed to fetch y"),
        ("W: GPG error: NO_PUBKEY 6ED0E7B82643E131", "upgrade debian-archive-keyring"),
        ("", "without a word"),
    ],
)
def test_complaints_become_one_line(output: str, said: str) -> None:
    assert said in str(apt_tool.complaint(output))
