"""Imports go one way: types, errors, images, weights <- models <- knowledge ... <- cli. Read from the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "reason_iad"
# A module may import from its own group, or from a group of a lower number.
LEVELS = {
    "errors": 0, "versions": 0, "words": 0, "languages": 0, "locale": 1,
    "files": 0, "types": 0, "images": 0, "processor": 0, "weights": 0, "workers": 0,
    "models": 1,
    "knowledge": 2, "evidence": 2, "datasets": 2, "metrics": 2,
    "reasoning": 3, "naming": 3, "recognition": 3, "inspection": 4, "profiles": 4, "benchmark": 5, "store": 5,
    "reporting": 6, "training": 6, "calibration": 6, "server": 7, "line": 7, "cli": 8,
}  # fmt: skip
HEAVY = {
    "torch",
    "transformers",
    "onnxruntime",
    "onnx",
    "scipy",
    "sklearn",
    "accelerate",
    "gguf",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "uvicorn",
    "av",
    "paho",
    "asyncua",
    "harvesters",
    "httpx",
    "opentelemetry",
}


def imported_names(tree: ast.AST, package: str) -> list[str]:
    """Full dotted names of everything a module imports, late imports included."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], base]).rstrip(".")
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def modules() -> list[tuple[str, str, ast.Module]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        group = parts[1] if len(parts) > 1 else ""
        found.append((group, ".".join(parts[:-1]), ast.parse(path.read_text("utf-8"), str(path))))
    return found


def breaches(group: str, names: list[str]) -> list[str]:
    """What a module of `group` must not import."""
    wrong = []
    for name in names:
        parts = name.split(".")
        target = parts[1] if parts[0] == "reason_iad" and len(parts) > 1 else ""
        if not target or target not in LEVELS or target == group:
            continue
        if target == "training" or LEVELS[target] > LEVELS[group] or (
            LEVELS[target] == LEVELS[group] and LEVELS[group] != 0 and group != "training"
        ):  # fmt: skip
            wrong.append(name)
    return wrong


def test_every_group_of_the_package_has_a_level() -> None:
    groups = {group for group, _, _ in modules()} - {"__init__", "__main__"}
    assert groups <= set(LEVELS), f"give {groups - set(LEVELS)} a level"


def test_imports_go_one_way() -> None:
    wrong = [
        f"{package}: {name}"
        for group, package, tree in modules()
        if group in LEVELS
        for name in breaches(group, imported_names(tree, package))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("group", "source", "allowed"),
    [
        ("models", "from reason_iad.cli import app", False),
        ("models", "from ..reporting import html", False),
        ("reporting", "def f():\n    import reason_iad.cli.app", False),
        ("inspection", "import reason_iad.training.synth", False),
        ("cli", "from reason_iad.inspection import inspector", True),
        ("training", "from reason_iad.inspection import prompts", True),
        ("models", "from reason_iad import weights", True),
    ],
)
def test_a_planted_import_is_judged_by_its_direction(group: str, source: str, allowed: bool) -> None:
    names = imported_names(ast.parse(source), f"reason_iad.{group}")
    assert (breaches(group, names) == []) is allowed


def test_light_modules_do_not_import_heavy_libraries_at_the_top() -> None:
    wrong = []
    for group, package, tree in modules():
        if group not in {
            "cli",
            "reporting",
            "errors",
            "files",
            "types",
            "images",
            "processor",
            "weights",
            "workers",
            "line",
            "__init__",
        }:
            continue
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = [name for node in top for name in imported_names(node, package)]
        wrong += [f"{package}: {name}" for name in names if name.split(".")[0] in HEAVY]
    assert wrong == []
