"""The shape of the project: which package may import which, and that documents keep up with the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from server.settings import Settings

ROOT = Path(__file__).parents[1]
PACKAGES = ("memory", "agent", "server", "training")
MAY_IMPORT = {
    "memory": {"memory"},
    "agent": {"agent", "memory"},
    "server": {"server", "agent", "memory"},
    "training": {"training", "agent", "memory"},
}
NEVER_IN = {
    "server": {"torch", "transformers", "peft", "vllm"},
    "training": {"fastapi", "vllm"},
    "agent": {"vllm", "torch"},
}
RUN_BY_THE_ENGINE = {
    ROOT / "server" / "engine" / "convert_gguf.py",
    ROOT / "server" / "engine" / "extension" / "cpu_adapters.py",
}
"""For the engine's environment: started or imported there, imported by nobody here."""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Top-level names of every module imported anywhere in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide the direction"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    for file in sources(package):
        ours = {name for name in imported(file) if name in (*PACKAGES, "tests")}
        assert ours <= MAY_IMPORT[package], f"{file.relative_to(ROOT)} imports {sorted(ours - MAY_IMPORT[package])}"


@pytest.mark.parametrize("package", NEVER_IN)
def test_heavy_libraries_stay_out(package: str) -> None:
    for file in sources(package):
        if file not in RUN_BY_THE_ENGINE:
            assert not set(imported(file)) & NEVER_IN[package], file.relative_to(ROOT)


def test_records_need_the_standard_library_only() -> None:
    names = set(imported(ROOT / "memory" / "records.py"))
    assert names <= {"__future__", "dataclasses", "enum", "typing"}


def test_every_dependency_is_explained() -> None:
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    declared = re.findall(r'^  "([a-z0-9-]+)[><=]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared
    for name in declared:
        assert f"`{name}`" in explained, f"{name} is missing in docs/dependencies.md"


def test_every_setting_is_documented() -> None:
    readme = (ROOT / "README.md").read_text()
    for variable in variables(Settings, "BURNISH_"):
        assert f"`{variable}`" in readme, f"{variable} is missing in README's configuration table"


def variables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


def test_every_folder_names_its_files() -> None:
    for package in PACKAGES:
        for folder in {file.parent for file in sources(package)}:
            readme = folder / "README.md"
            assert readme.exists(), f"{readme.relative_to(ROOT)} is missing"
            text = readme.read_text()
            for file in folder.glob("*.py"):
                if file.name != "__init__.py":
                    assert f"`{file.name}`" in text, f"{file.name} is missing in {readme.relative_to(ROOT)}"
