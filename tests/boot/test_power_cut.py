"""rvvm is killed while its guest writes: the disk is whole, and what was synced is there."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.run import ENVIRONMENT
from host_tools import lacks

pytestmark = [
    pytest.mark.xdist_group("debian"),
    pytest.mark.skipif(bool(lacks("mke2fs")), reason=lacks("mke2fs")),
]
LOAD = b"""mount /dev/vda /mnt
i=0; while :; do i=$((i+1))
printf '%-511d\\n' $i | dd of=/mnt/records bs=512 seek=$i conv=notrunc,fsync 2> /dev/null
if [ $((i%4)) = 1 ]; then echo number $i > /mnt/f$i; sync; fi; echo synced-$i
if [ $((i%4)) = 2 ]; then rm -f /mnt/junk; dd if=/bin/busybox of=/mnt/junk bs=64k 2> /dev/null; fi
done
"""


def run(*command: str | Path, fine: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in fine, done.stdout + done.stderr
    return done.stdout


def cut(image: Path, seconds: float) -> int:
    """Boot, write, and be killed after so long; the last number that was synced."""
    command = [sys.executable, "-m", "rvvm", "--kernel", "debian", "--memory", "256M", "--commit"]
    command += ["--drive", f"file={image}", "--append"]
    command += ["console=ttyS0 quiet rvvm.modules=virtio_blk,ext4"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as machine:
        assert machine.stdin and machine.stdout
        machine.stdin.write(LOAD)
        machine.stdin.flush()
        output = bytearray()
        while b"synced-1\r" not in output:
            piece = machine.stdout.read1(4096)
            assert piece, output
            output += piece
        time.sleep(seconds)
        machine.send_signal(signal.SIGKILL)
        output += machine.stdout.read()
    return max(int(number) for number in re.findall(rb"synced-(\d+)\r", output))


def check(image: Path, synced: int) -> None:
    run("e2fsck", "-fy", "-E", "journal_only", image, fine=(0, 1))
    run("e2fsck", "-fn", image)
    records = run("debugfs", "-R", "cat records", image)
    for number in range(1, synced + 1):
        assert records[512 * number :][:512] == f"{number:<511}\n"
    for number in range(1, synced + 1, 4):
        assert run("debugfs", "-R", f"cat f{number}", image) == f"number {number}\n"


@pytest.mark.parametrize(
    ("seed", "cuts"), [(0, 2), *(pytest.param(n, 10, marks=pytest.mark.long) for n in range(1, 6))]
)
def test_killed_at_any_moment(tmp_path: Path, seed: int, cuts: int) -> None:
    rng = random.Random(seed)
    for number in range(cuts):
        image = tmp_path / "disk.img"
        with image.open("wb") as file:
            file.truncate(32 << 20)
        run("mke2fs", "-q", "-F", "-t", "ext4", image)
        seconds = rng.uniform(0, 1.5)
        synced = cut(image, seconds)
        print(f"cut {number} after {seconds:.2f} s: {synced} records were synced")
        check(image, synced)
