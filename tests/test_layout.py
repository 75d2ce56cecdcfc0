"""Imports between the package's folders run one way, from the commands down to the plan."""

import ast
from collections import Counter
from pathlib import Path

import espnet_topdown

PACKAGE = Path(espnet_topdown.__file__).parent
# From the bottom up; what stands on one line may not import one another.
LEVELS = (
    ("errors", "grouping", "processes"),
    ("claims",),
    ("archives", "check", "table", "versions", "locks", "yaml_text"),
    ("files", "text_files", "recognise", "gpus"),
    ("plan",),
    ("experiment",),
    ("warm",),
    ("lm",),
    ("training",),
    ("cascade",),
    ("results",),
    ("study", "corpora"),
    ("bin", "recipe"),
    ("cli_parser",),
    ("completion",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}


def unit(path: Path) -> str:
    """The folder or root module that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Folders and root modules of the package that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "espnet_topdown":
            names |= {f"espnet_topdown.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("espnet_topdown.")}


def against_the_order(path: Path) -> list[str]:
    own = unit(path)
    upward = [name for name in imports(path) if name != own and LEVEL[name] >= LEVEL[own]]
    return [f"{path.relative_to(PACKAGE)} imports {name}" for name in upward]


def test_imports_between_folders_run_one_way() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
    assert len(files) > 50
    assert [line for path in files for line in against_the_order(path)] == []


def test_no_two_test_modules_have_one_name() -> None:
    """Pytest would import the second under the name of the first."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert [name for name, count in Counter(names).items() if count > 1] == []
