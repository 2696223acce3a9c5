"""What the source archive and the wheel carry."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from host_tools import unpack
from style.tree import ROOT, cpp_files, files

pytestmark = pytest.mark.long


def build(source: Path, target: str, into: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(into.glob("*.tar.gz" if target == "sdist" else "*.whl"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(ROOT, "sdist", folder)) as archive:
        unpack(archive, folder)
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from the source archive alone."""
    return zipfile.ZipFile(build(sdist, "wheel", tmp_path_factory.mktemp("wheel")))


def test_source_archive_has_the_sources(sdist: Path) -> None:
    wanted = (*cpp_files(), *files("firmware/*", "devicetree/*", "rvvm/*", "SConstruct", "LICENSE"))
    assert not [path for path in wanted if not (sdist / path.relative_to(ROOT)).is_file()]
    assert not [path for path in sdist.rglob("*") if path.suffix in (".so", ".elf")]


def test_wheel_has_what_runs(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    core = f"rvvm/_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert {core, "rvvm/_core.pyi", "rvvm/py.typed", "rvvm/firmware/hello.elf"} <= names
    assert {f"rvvm/{path.relative_to(ROOT)}" for path in files("devicetree/*")} <= names
    assert {str(path.relative_to(ROOT)) for path in files("rvvm/*.py")} <= names
    assert not [name for name in names if name.endswith((".cpp", ".hpp", ".inc"))]


def test_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    home = next(name for name in wheel.namelist() if name.endswith("/METADATA")).rpartition("/")[0]
    metadata = wheel.read(f"{home}/METADATA").decode()
    assert "License-Expression: MIT" in metadata and "Requires-Python: >=3.11" in metadata
    assert b"rvvm.start:main" in wheel.read(f"{home}/entry_points.txt")
    tag = f"cp3{sys.version_info.minor}"
    assert f"Tag: {tag}-{tag}-linux_" in wheel.read(f"{home}/WHEEL").decode()
    assert f"{home}/licenses/LICENSE" in wheel.namelist()
