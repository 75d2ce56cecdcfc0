"""Names of our code in docstrings, comments and documents are names that there are."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "espnet_topdown"
SOURCES = sorted(PACKAGE.rglob("*.py"))
_WHOLE = re.compile(r"`espnet_topdown\.([\w.]+)(?:\(\))?`")
_SHORT = re.compile(r"`(\w+)\.(\w+)(?:\(\))?`")
# `checkpoint.pth` is a file.
_ENDINGS = ("pth", "py", "sh", "json", "jsonl", "yaml", "log", "md", "lock", "txt")


def test_every_name_between_backticks_exists() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", PACKAGE / "README.md"]
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*SOURCES, *documents]
        for name in unknown(path.read_text(encoding="utf-8"))
    ]
    assert not missing


def unknown(text: str) -> Iterator[str]:
    """Names that are not there: whole ones (modules and what they define), and short ones."""
    for name in _WHOLE.findall(text):
        path = PACKAGE.joinpath(*name.split("."))
        is_module = path.is_dir() or path.with_suffix(".py").is_file()
        if not is_module and not defines([path.parent.with_suffix(".py")], path.name):
            yield name
    for module, name in _SHORT.findall(text):
        # Such as `files.sha256`; a folder's name may stand before a module's.
        modules = [path for path in SOURCES if path.stem == module]
        if modules and name not in _ENDINGS and not defines(modules, name):
            yield f"{module}.{name}"


def defines(modules: list[Path], name: str) -> bool:
    """Whether one of the modules has a function, class, variable or attribute of that name."""
    definition = re.compile(rf"^\s*(?:def|class) {name}\b|^\s*(?:self\.)?{name}\b.*[=:]", re.M)
    texts = [path.read_text(encoding="utf-8") for path in modules if path.is_file()]
    return any(map(definition.search, texts))
