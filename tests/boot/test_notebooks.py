"""The notebooks run as they stand, from top to bottom."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from cli.run import ENVIRONMENT

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


NAMES = [path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


@pytest.mark.xdist_group("debian")
@pytest.mark.parametrize("name", NAMES)
def test_notebook(name: str) -> None:
    nbmake = ["--nbmake", "--nbmake-timeout=900", "--nbmake-kernel=python3"]
    command = [sys.executable, "-m", "pytest", *nbmake, "-p", "no:xdist"]
    where = ["--rootdir", str(NOTEBOOKS), str(NOTEBOOKS / name)]
    done = subprocess.run(
        [*command, *where], capture_output=True, text=True, cwd=NOTEBOOKS, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_jupyter_elsewhere_finds_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered as README says, but for the place: notebooks ask for it by that name."""
    install = ["-m", "ipykernel", "install", "--prefix", str(tmp_path), "--name", "rvvm"]
    subprocess.run([sys.executable, *install], check=True, capture_output=True)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share/jupyter"))
    for name in NAMES:
        assert (
            json.loads((NOTEBOOKS / name).read_text())["metadata"]["kernelspec"]["name"] == "rvvm"
        )
    manager, client = start_new_kernel(kernel_name="rvvm", cwd=tmp_path, startup_timeout=300)
    said: list[dict[str, object]] = []
    try:
        client.execute_interactive(
            "import rvvm; rvvm.Machine.__name__",
            timeout=300,
            output_hook=lambda message: said.append(message["content"].get("data", {})),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert {"text/plain": "'Machine'"} in said
