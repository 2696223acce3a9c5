"""The build hook: SCons makes the core and the firmware, hatchling packs them."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SConsHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build = subprocess.run([sys.executable, "-m", "SCons", "ext", "firmware"], cwd=self.root)
        if build.returncode:
            raise SystemExit("rvvm: the build failed: the compiler's message stands above")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        # The exact name: a wheel for one Python must not carry a core left from another.
        core = f"rvvm/_core{sysconfig.get_config_var('EXT_SUFFIX')}"
        build_data["artifacts"] += [f"/{core}", "/rvvm/firmware/*"]
