"""The reference of a plan's keys: complete, true by its own examples, and the committed one."""

import re
from pathlib import Path

import pytest
import yaml

from espnet_topdown.plan import rules
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan import Entry, Plan
from espnet_topdown.plan.plan_file import _known, parse_plan
from espnet_topdown.plan.reference import reference
from espnet_topdown.plan.rules import Key
from espnet_topdown.plan.topdown_conf import TopdownConf

KEYS_MD = Path(__file__).parents[2] / "conf" / "topdown" / "KEYS.md"


def table(**sections: dict[str, Key]) -> list[object]:
    rows = []
    for section, keys in sections.items():
        rows += [pytest.param(name, key, id=f"{section} {name}") for name, key in keys.items()]
    return rows


def test_every_key_of_a_plan_has_a_rule_with_a_meaning() -> None:
    tables = [rules.HEADER, rules.PHASE, rules.ITEM, rules.TRAIN, rules.TOPDOWN_CONF]
    for keys in tables:
        for name, key in keys.items():
            assert isinstance(key, Key), f"{name} has neither meaning nor example"
            assert key.means, name
    assert set(_known(Plan)) == {*rules.HEADER, *rules.PHASE}
    assert set(_known(Entry)) == {*rules.ITEM, *rules.PHASE}
    assert set(_known(TopdownConf)) == set(rules.TOPDOWN_CONF)


@pytest.mark.parametrize(("name", "key"), table(header=rules.HEADER, phase=rules.PHASE))
def test_an_example_of_the_header_is_a_plan_that_sets_the_key(name: str, key: Key) -> None:
    plan = parse_plan(f"{key.example}\nphases: [{{cut: decoder}}]")
    assert name in yaml.safe_load(key.example)
    assert getattr(plan, name) != getattr(Plan(entries=()), name)


@pytest.mark.parametrize(("name", "key"), table(item=rules.ITEM))
def test_an_example_of_an_item_is_an_item_that_sets_the_key(name: str, key: Key) -> None:
    (entry,) = parse_plan(f"phases:\n- {key.example}").entries
    assert getattr(entry, name) != getattr(Entry(), name)


@pytest.mark.parametrize(("name", "key"), table(train=rules.TRAIN))
def test_an_example_of_train_is_one_that_sets_the_option(name: str, key: Key) -> None:
    plan = parse_plan(f"train: {{{key.example}}}\nphases: [{{cut: decoder}}]")
    assert name in plan.train


@pytest.mark.parametrize(("name", "key"), table(conf=rules.TOPDOWN_CONF))
def test_an_example_of_topdown_conf_is_one_that_sets_the_key(name: str, key: Key) -> None:
    conf = TopdownConf.from_conf(yaml.safe_load(key.example))
    assert getattr(conf, name) != getattr(TopdownConf(), name)


EXAMPLES = re.findall(r"```yaml\n(.*?)```", KEYS_MD.with_name("README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_the_readme_fits_a_model(text: str) -> None:
    encoder = [f"encoder.{number}" for number in range(12)]
    decoder = [f"decoder.{number}" for number in range(6)]
    names = ["encoder.embed", *encoder, *decoder, "output"]
    plan = parse_plan(text)
    assert len(expand(plan, names, 0)) >= len(plan.entries) > 0


def test_the_committed_reference_is_that_of_the_rules() -> None:
    command = "espnet-topdown plan --keys > conf/topdown/KEYS.md"
    assert KEYS_MD.read_text(encoding="utf-8") == reference(), f"renew it: {command}"
