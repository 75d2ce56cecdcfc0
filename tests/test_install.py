"""Installing this package replaces neither the ESPnet nor the torch that are there.

Pip resolves our requirements in an environment of made-up packages, against a folder of made-up
wheels of which some are newer. Our own wheel is built offline, and its command is run from it.
"""

import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
NEWEST = {
    "espnet": ["202511", "202611"],
    "torch": ["2.12.0", "2.14.0"],
    "torchaudio": ["2.11.0", "2.11.1"],
}
# Of the real 2.11.1, which takes torch 2.12 and does not load with it.
ASKS = {("torchaudio", "2.11.1"): ["torch>=2.11"]}

# Setuptools files a requirement with a marker under "EXTRA:MARKER", extra or not.
READ_SETUP = """
import json, setuptools
from distutils.core import run_setup
ours = run_setup("setup.py", stop_after="init")
needed = {"": list(ours.install_requires), "tested": []}
for key, lines in ours.extras_require.items():
    extra, _, marker = key.partition(":")
    if extra in needed:
        needed[extra] += [f"{line}; {marker}" if marker else line for line in lines]
print(json.dumps([needed[""], needed["tested"]]))
"""


def metadata(name: str, version: str, requirements: list[str]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {line}" for line in requirements), ""])


def write_wheel(folder: Path, name: str, version: str, text: str) -> None:
    """A wheel of nothing but its metadata."""
    name = name.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", text)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def setup_lines() -> list[list[str]]:
    """What setup.py requires, and what its extra "tested" does."""
    words = [sys.executable, "-c", READ_SETUP]
    done = subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def wheels(setup_lines: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel by setup.py's own requirements, and one for each package that they name."""
    folder = tmp_path_factory.mktemp("wheels")
    needed, tested = setup_lines
    requirements = [Requirement(line) for line in needed]
    for line in tested:
        requirement = Requirement(line)
        marker = f"({requirement.marker}) and extra == 'tested'"
        requirement.marker = Marker(marker)
        requirements.append(requirement)
    text = metadata("espnet_topdown", "1.0", [str(requirement) for requirement in requirements])
    write_wheel(folder, "espnet_topdown", "1.0", text + "Provides-Extra: tested\n")
    for requirement in requirements:
        name = requirement.name
        for version in NEWEST.get(name, ["99.0"]):
            asks = ASKS.get((name, version), [])
            write_wheel(folder, name, version, metadata(name, version, asks))
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment without packages."""
    venv = tmp_path / "venv"
    words = [sys.executable, "-m", "venv", "--without-pip", str(venv)]
    subprocess.run(words, check=True)
    return venv


def install(environment: Path, name: str, version: str, *, editable: str | None = None) -> None:
    """A package that is there, by its metadata; `editable` is the checkout that it is of."""
    (packages,) = environment.glob("lib/python*/site-packages")
    info = packages / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(metadata(name, version, []))
    (info / "RECORD").write_text("")
    (info / "INSTALLER").write_text("pip\n")
    if editable:
        origin = {"url": f"file://{editable}", "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(origin))


def resolved(environment: Path, wheels: Path, asked: str) -> dict[str, str]:
    """Name -> version of what pip would install."""
    words = [sys.executable, "-m", "pip", "--isolated", "--python", str(environment / "bin/python")]
    words += ["install", "--dry-run", "--quiet", "--no-index", "--find-links", str(wheels)]
    report = environment / "report.json"
    # Or pip would see this package there, where a checkout is on PYTHONPATH.
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words += ["--report", str(report), asked]
    done = subprocess.run(words, capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stderr
    rows = [row["metadata"] for row in json.loads(report.read_text())["install"]]
    return {row["name"]: row["version"] for row in rows}


@pytest.mark.parametrize(
    ("espnet", "editable"),
    [("202402", None), ("0.0.0", "/src/espnet")],
)
def test_an_espnet_and_a_torch_that_are_there_stay(
    espnet: str, editable: str | None, environment: Path, wheels: Path
) -> None:
    install(environment, "espnet", espnet, editable=editable)
    install(environment, "torch", "2.5.1+cu118")
    install(environment, "torchaudio", "2.5.1+cu118")
    chosen = resolved(environment, wheels, "espnet_topdown")
    assert "espnet_topdown" in {name.replace("-", "_") for name in chosen}
    assert not {"espnet", "torch", "torchaudio"} & set(chosen)


def test_no_torchaudio_is_taken_that_asks_for_another_torch(
    environment: Path, wheels: Path
) -> None:
    install(environment, "torch", "2.9.1")
    assert not {"torch", "torchaudio"} & set(resolved(environment, wheels, "espnet_topdown"))


def test_the_tested_versions_are_an_extra(environment: Path, wheels: Path) -> None:
    chosen = resolved(environment, wheels, "espnet_topdown[tested]")
    names = ["espnet", "torch", "torchaudio"]
    if sys.version_info >= (3, 12):
        # ESPnet 202611 declares its torchaudio.
        assert [chosen.get(name) for name in names] == ["202611", "2.14.0", None]
    else:
        assert [chosen.get(name) for name in names] == ["202511", "2.12.0", "2.11.0"]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_make_commands_take_versions_that_setup_allows(
    version: str, setup_lines: list[list[str]]
) -> None:
    lines = (REPOSITORY / f".ci/constraints-{version}.txt").read_text().splitlines()
    pinned = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines)}
    # A machine's own certificates and CUDA libraries are not for others.
    assert not [name for name in pinned if re.match("certifi|nvidia|cuda|triton", name)]
    for requirement in map(Requirement, itertools.chain(*setup_lines)):
        if not requirement.marker or requirement.marker.evaluate({"python_version": version}):
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_the_make_commands_install_the_tested_versions(tmp_path: Path) -> None:
    def told(*words: str) -> str:
        command = ["make", "-n", "install", f"PYTHON={sys.executable}", f"VENV={tmp_path}", *words]
        return subprocess.run(
            command, cwd=REPOSITORY, check=True, capture_output=True, text=True
        ).stdout

    version = ".".join(map(str, sys.version_info[:2]))
    install = f"\n\"{tmp_path}/bin/python\" -m pip install --quiet --editable '.[tested,test]'"
    assert f"{install} --constraint .ci/constraints-{version}.txt || " in told()
    assert f"{install}\n" in told("CONSTRAINTS=")
    assert "--constraint" not in told("CONSTRAINTS=")


def can_build() -> bool:
    """Whether wheels can be built here: by `wheel`, or by a setuptools that has its own."""
    if importlib.util.find_spec("wheel"):
        return True
    import setuptools

    return int(setuptools.__version__.split(".")[0]) >= 71


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built offline and installed alone."""
    if not can_build():
        pytest.skip("needs wheel, of the extra [test]")
    source = tmp_path_factory.mktemp("source")
    for name in ("espnet_topdown", "conf"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--isolated", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    built = source / "dist"
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", str(built), str(source)], check=True)
    (wheel,) = built.glob("*.whl")
    place = tmp_path_factory.mktemp("place with blanks")
    subprocess.run([*pip, "install", *offline, "--target", str(place), str(wheel)], check=True)
    return place


def test_the_wheels_command_knows_the_shipped_plans(installed: Path, tmp_path: Path) -> None:
    def said(*words: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(installed)}
        command = [str(installed / "bin" / "espnet-topdown"), *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    (tmp_path / "exp").mkdir()
    data = "train_data_path_and_name_and_type: [[gone.scp, speech, sound]]"
    (tmp_path / "exp" / "config.yaml").write_text(f"encoder: rnn\n{data}\n")
    assert said("plan", "--help").startswith("usage: espnet-topdown plan ")
    assert said("plan", "--keys").startswith("# Keys of a plan")
    # The plan is read before the data are looked for.
    assert "names files that are not there" in said("plan", "exp", "--plan", "rnn")
    assert "cannot read the plan rn: No such file" in said("plan", "exp", "--plan", "rn")
    shipped = installed / "espnet_topdown" / "conf" / "topdown"
    assert {path.read_text() for path in shipped.glob("*.yaml")} == {
        path.read_text() for path in (REPOSITORY / "conf" / "topdown").glob("*.yaml")
    }
