"""A Debian that was built by rvvm, used as people use one: it boots from its disk, and is reached
by ssh; packages are installed, a program is compiled, a page is served, a folder is shared."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from boot import debian_disk
from boot.debian_disk import Guest
from host_tools import lacks

missing = lacks("passt", "ssh", "ssh-keygen")
pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("debian"),
    pytest.mark.skipif(bool(missing), reason=missing),
]
PROGRAM = r"""
#include <stdio.h>
int main(void) { printf("%s %d\n", __FILE__, 6 * 7); return 0; }
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Debian(Guest):
    """With two disks, two nets and a shared folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shared"
        self.folder.mkdir()
        second = folder / "second.img"
        with second.open("wb") as file:
            file.truncate(64 << 20)
        self.ssh_port, self.web_port = free_port(), free_port()
        forwards = [
            f"hostfwd=tcp:127.0.0.1:{port}-:{to}"
            for port, to in ((self.ssh_port, 22), (self.web_port, 80))
        ]
        super().__init__(
            drive=[str(debian_disk.base()), str(second)],
            netdev=[",".join(["user", *forwards]), f"socket,path={folder / 'net.sock'}"],
            share=f"{self.folder}:host",
            memory="1G",
        )


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    guest = Debian(tmp_path_factory.mktemp("debian"))
    guest.log_in()
    guest.shell("until ip route | grep -q default; do sleep 1; done")  # it comes behind the prompt
    yield guest


def test_systemd_is_content(debian: Debian) -> None:
    """Every unit that was to start has started."""
    text = debian.shell("systemctl is-system-running --wait || systemctl --failed --no-pager")
    assert "running" in text and "degraded" not in text
    assert "PRETTY_NAME" in debian.shell("cat /etc/os-release; uname -r")
    assert re.search(r"uid=0\(root\)", debian.shell("sudo id"))


def test_the_modules_are_the_kernels(debian: Debian) -> None:
    debian.shell("sudo modprobe overlay && lsmod | grep overlay")


def test_two_disks_and_two_nets(debian: Debian) -> None:
    disks = debian.shell("lsblk -dnb -o NAME,SIZE")
    assert re.search(r"vda +4294967296", disks) and re.search(r"vdb +67108864", disks)
    debian.shell(
        "sudo mke2fs -q /dev/vdb && sudo mount /dev/vdb /mnt && df /mnt && sudo umount /mnt"
    )
    nets = debian.shell("ip -br link | cat")
    assert len(re.findall(r"^en\S+ ", nets, re.M)) == 2


def test_ssh(debian: Debian) -> None:
    assert debian.ssh(debian.ssh_port, "id -un; uname -m") == "debian\nriscv64\n"
    assert debian.ssh(debian.ssh_port, "head -c 3000000 /dev/zero | wc -c") == "3000000\n"


def test_a_c_program(debian: Debian) -> None:
    (debian.folder / "hello.c").write_text(PROGRAM)
    mount(debian)
    assert "hello.c 42" in debian.shell("cd /host && gcc -O1 -o /tmp/hello hello.c && /tmp/hello")
    debian.shell("cd && sudo umount /host")


def mount(debian: Debian) -> None:
    options = "trans=virtio,version=9p2000.L,msize=512000,access=any"
    debian.shell(f"sudo mkdir -p /host && sudo mount -t 9p -o {options} host /host")


def test_a_shared_folder_both_ways(debian: Debian) -> None:
    (debian.folder / "from-host").write_text("hello guest\n")
    mount(debian)
    assert "hello guest" in debian.shell("cat /host/from-host")
    debian.shell("sudo cp /etc/os-release /host/; sudo sh -c 'echo hello host > /host/from-guest'")
    assert (debian.folder / "from-guest").read_text() == "hello host\n"
    assert "trixie" in (debian.folder / "os-release").read_text()
    debian.shell("sudo umount /host")


def test_apt_installs_nginx_which_serves_a_page(debian: Debian) -> None:
    """Through the host's connection, from the mirror that the host's apt uses."""
    install = "sudo DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends"
    both = f"sudo apt-get -q update 2>&1; {install} nginx 2>&1"
    try:
        assert "Setting up nginx" in debian.ssh(debian.ssh_port, both)
    except AssertionError as error:
        told = [line for line in str(error).splitlines() if line[:2] == "E:"]
        if not told:
            raise
        pytest.skip(f"the guest cannot have it from the host's mirror: {told[0]}")
    debian.ssh(debian.ssh_port, "echo a page | sudo tee /var/www/html/page.html")
    pages: list[bytes] = []

    def fetch() -> None:
        uri = f"http://127.0.0.1:{debian.web_port}/page.html"
        with urllib.request.urlopen(uri, timeout=debian_disk.PATIENCE) as page:
            pages.append(page.read())

    client = threading.Thread(target=fetch)
    client.start()
    debian.while_it_runs(client.is_alive)
    assert pages == [b"a page\n"]


def test_power_off(debian: Debian) -> None:
    """The last of them: the base is as it was, for all that was written."""
    debian.machine.console.send("sudo poweroff\n")
    stop = debian.machine.run(timeout=debian_disk.PATIENCE)
    assert (stop.reason, stop.detail) == ("halt", 0)
