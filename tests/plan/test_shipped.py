"""Shipped plans are found by name; what is there under that name goes first."""

from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.plan_file import read_plan
from espnet_topdown.plan.shipped import plan_path, shipped_plans

CONF = Path(__file__).parents[2] / "conf" / "topdown"


def test_every_shipped_plan_has_a_name() -> None:
    assert shipped_plans() == {path.stem: path for path in sorted(CONF.glob("*.yaml"))}
    assert plan_path("rnn") == CONF / "rnn.yaml"
    assert read_plan(plan_path("rnn")).patience == 2


def test_a_file_goes_before_a_shipped_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rnn").touch()
    assert plan_path("rnn") == Path("rnn")


def test_a_plan_of_the_recipe_that_is_named_without_its_path_is_told_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conf/topdown").mkdir(parents=True)
    Path("conf/topdown/ctc.yaml").write_text("phases: [{cut: decoder}]")
    with pytest.raises(
        TopdownError, match=r"this recipe's own is given as conf/topdown/ctc\.yaml;"
    ):
        read_plan(plan_path("ctc"))


def test_a_name_that_is_none_is_told_the_shipped_ones() -> None:
    assert plan_path("conf/rn.yaml") == Path("conf/rn.yaml")
    with pytest.raises(TopdownError, match="cannot read the plan rn: No such.*lm, rifle, rnn, tr"):
        read_plan(plan_path("rn"))
