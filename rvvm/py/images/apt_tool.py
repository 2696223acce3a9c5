"""The host's apt tools, run with a configuration, lists and status of our own.

A configuration file of ours (apt.conf(5), APT_CONFIG) keeps apt off the host's lists, status,
pins and hooks; of the host's settings only those of its network hold. No root is needed.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from rvvm.py.errors import UserError
from rvvm.py.images import cache, sources

SUITE = "trixie"
ARCHITECTURE = "riscv64"
HELPER = "/usr/lib/apt/apt-helper"

HOST_SETTINGS = re.compile(r"Acquire::(https?|tor|ftp|Retries|ForceIPv[46]|Proxy)\b")
"""What of the host's configuration concerns its network and so holds for us too."""

OWN_SETTINGS = {
    "Dir::Cache::srcpkgcache": "",  # not kept: 40 MB that save nothing once pkgcache is there
    "Dir::Etc::SourceParts": "/dev/null",
    "Dir::Etc::Preferences": "/dev/null",
    "Dir::Etc::PreferencesParts": "/dev/null",
    # The host's hooks (docker-clean, appstream ...) would work on the host's own state.
    "Dir::Etc::Main": "/dev/null",
    "Dir::Etc::Parts": "/dev/null",
    "APT::Architecture": ARCHITECTURE,
    "APT::Architectures": ARCHITECTURE,
    "APT::Update::Error-Mode": "any",
    "Acquire::GzipIndexes": "true",
    "Acquire::Languages": "none",
    "Acquire::Retries": "3",
}


def configuration(home: Path, mirror: str, keyring: str, host: str) -> tuple[str, str]:
    """Our apt.conf and sources.list; `host` is what ``apt-config dump`` says on this host."""
    settings = OWN_SETTINGS | {
        "Dir::State": f"{home}/state",
        "Dir::State::status": f"{home}/status",
        "Dir::Cache": f"{home}/cache",
        "Dir::Etc::SourceList": f"{home}/sources.list",
    }
    if os.geteuid() == 0:
        settings["APT::Sandbox::User"] = "root"  # _apt may not enter root's home
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    lines += [line for line in host.splitlines() if HOST_SETTINGS.match(line)]
    return "\n".join(lines) + "\n", f"deb [signed-by={keyring}] {mirror} {SUITE} main\n"


def home() -> Path:
    """Where our apt keeps its state."""
    return cache.folder("apt")


def prepare() -> None:
    """Write the configuration anew: the host's mirror or proxy may have changed."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        cache.folder("apt", *part.split("/"))
    (home() / "status").touch()
    host = subprocess.run(["apt-config", "dump"], capture_output=True, text=True).stdout
    conf, listed = configuration(home(), sources.host_mirror(), sources.keyring(), host)
    cache.write(home() / "apt.conf", conf.encode())
    cache.write(home() / "sources.list", listed.encode())


def start(*command: str) -> subprocess.Popen[str]:
    """Start an apt tool with our configuration."""
    environment = {**os.environ, "APT_CONFIG": str(home() / "apt.conf"), "LC_ALL": "C"}
    try:
        return subprocess.Popen(
            command,
            cwd=home(),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        raise UserError(f"{command[0]} is needed to fetch Debian packages: {error}") from error


def run(*command: str) -> str:
    """Run an apt tool to its end: its output, or its complaint as a UserError."""
    with start(*command) as process:
        out, err = process.communicate()
    if process.returncode:
        raise complaint(out + err)
    return out


def complaint(output: str) -> UserError:
    """One line out of what apt says when it fails; its first complaint is the cause."""
    if "NO_PUBKEY" in output:
        return UserError(f"Debian's keys here do not know {SUITE}: upgrade debian-archive-keyring")
    complaints = [line for line in output.splitlines() if re.match(r"[EW]: ", line)]
    reason = complaints[0][3:] if complaints else "apt failed without a word"
    return UserError(f"cannot fetch Debian packages: {reason}")
