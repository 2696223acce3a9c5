"""The archive of unpacked packages: the files, and a database that dpkg itself can read."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from host_tools import unpack
from images import debs
from rvvm.py.errors import UserError
from rvvm.py.images import dpkg

CONTROL = """Package: {name}
Version: 1.0-1
Architecture: riscv64
Multi-Arch: {multi}
Maintainer: Nobody <nobody@example.com>
Description: short
 long line
 .
 more
"""


def package(folder: Path, name: str, files: dict[str, bytes], **control: str) -> Path:
    multi = control.pop("multi", "foreign")
    texts = {key: text.encode() for key, text in control.items()}
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": debs.tar(
            {"control": CONTROL.format(name=name, multi=multi).encode(), **texts}
        ),
        "data.tar.xz": debs.tar(files),
    }
    path = folder / f"{name}_1.0-1_riscv64.deb"
    path.write_bytes(debs.ar(parts))
    return path


def archive(*paths: Path) -> tarfile.TarFile:
    out = io.BytesIO()
    made = dpkg.Archive(out)
    assert len(list(made.packages(paths))) == len(paths)
    made.file("etc/hostname", "box\n")
    made.symlink("etc/link", "hostname")
    made.finish()
    out.seek(0)
    return tarfile.open(fileobj=out)


def read(tar: tarfile.TarFile, path: str) -> str:
    file = tar.extractfile(path)
    assert file is not None
    return file.read().decode()


def test_files_and_database(tmp_path: Path) -> None:
    tar = archive(
        package(tmp_path, "libz", {"usr/lib/libz.so": b"z"}, multi="same"),
        package(
            tmp_path,
            "tool",
            {"usr/bin/tool": b"t", "etc/tool.conf": b"c"},
            conffiles="/etc/tool.conf\n",
            postinst="#!/bin/sh\n",
            triggers="interest-noawait /usr/lib\ninterest rebuild # all of it\nactivate other\n",
        ),
        package(tmp_path, "base-files", {"etc/debian_version": b"13"}),
    )
    names = tar.getnames()
    assert names[0] == "etc/debian_version", "base-files comes first"
    assert "etc/tool.conf.dpkg-new" in names and "etc/tool.conf" not in names
    assert read(tar, "etc/hostname") == "box\n" and tar.getmember("etc/link").issym()
    info = "var/lib/dpkg/info"
    assert f"{info}/libz:riscv64.list" in names
    assert read(tar, f"{info}/tool.list") == "/.\n/usr/bin/tool\n/etc/tool.conf\n"
    assert read(tar, f"{info}/tool.postinst") == "#!/bin/sh\n"
    assert read(tar, "var/lib/dpkg/triggers/File") == "/usr/lib tool/noawait\n"
    assert read(tar, "var/lib/dpkg/triggers/rebuild") == "tool\n"
    status = read(tar, "var/lib/dpkg/status")
    assert "Description: short\n long line\n .\n more\n" in status
    assert "Conffiles:\n /etc/tool.conf newconffile\n" in status


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="no dpkg here")
def test_dpkg_reads_it(tmp_path: Path) -> None:
    first = package(tmp_path, "one", {"a": b""}, multi="same")
    tar = archive(first, package(tmp_path, "two", {"etc/b": b""}, conffiles="/etc/b\n"))
    unpack(tar, tmp_path / "root")
    query = ["dpkg-query", f"--admindir={tmp_path}/root/var/lib/dpkg", "-W"]
    done = subprocess.run(
        [*query, "-f", "${Package} ${Version} ${Status}\n"], capture_output=True, text=True
    )
    assert (done.stderr, done.stdout.splitlines()) == (
        "",
        ["one 1.0-1 install ok unpacked", "two 1.0-1 install ok unpacked"],
    )


def test_a_package_that_is_cut_short(tmp_path: Path) -> None:
    whole = package(tmp_path, "tool", {"a": bytes(1000)})
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(UserError, match="tool_1.0-1_riscv64.deb: not a whole Debian package"):
        archive(whole)
