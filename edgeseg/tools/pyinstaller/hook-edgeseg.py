"""Packs modules that are imported by name, the page's files, and the optional packages that are installed.

What exports checkpoints is left out, for torch alone takes gigabytes; a program that exports names it:
`--hidden-import torch --hidden-import torchvision ...`.
"""

from __future__ import annotations

from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs, collect_submodules

from edgeseg.optional import EXTRA_BY_MODULE

WITH_TORCH = ("edgeseg.exporter", "edgeseg.demo", "edgeseg.benchmark", "edgeseg.tools.pyinstaller")
installed = [module for module, extra in EXTRA_BY_MODULE.items() if extra != "export" and find_spec(module)]

hiddenimports = [
    *collect_submodules("edgeseg", filter=lambda name: not name.startswith(WITH_TORCH)),
    *installed,
]
datas = collect_data_files("edgeseg", excludes=["demo", "vision/images/samples", "benchmark"])
# Libraries that are loaded by name, such as OpenVINO's reader of ONNX, end in a version.
LIBRARIES = ["*.dll", "*.dylib", "*.so", "*.so.*"]
binaries = [item for module in installed for item in collect_dynamic_libs(module, search_patterns=LIBRARIES)]
