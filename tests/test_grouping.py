"""Items that have something in common stand together, in the order in which they come."""

from espnet_topdown.grouping import grouped


def test_groups_and_their_items_keep_their_order() -> None:
    assert list(grouped(["bb", "a", "cc", "d"], len).items()) == [
        (2, ["bb", "cc"]),
        (1, ["a", "d"]),
    ]
    assert grouped([], len) == {}
