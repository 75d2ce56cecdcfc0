"""The processes of one distributed training: where one cannot go on, all end, and one says why.

Otherwise the others would wait for it in their next exchange, for ever or for half an hour. With a
single process all of this does nothing.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from espnet2.train.distributed_utils import DistributedOption
from espnet2.utils.build_dataclass import build_dataclass

Result = TypeVar("Result")


@contextlib.contextmanager
def together(args: argparse.Namespace | None = None) -> Iterator[None]:
    """Around what every rank does: an exception on any of them ends them all.

    Args:
        args: options of the training, where this comes before ESPnet lets the ranks meet
            (tasks/abs_task.py, main_worker). One that fails then meets the others alone; those that
            do not must come to a `together` next.

    Raises:
        Exception: that of this rank, if it is the first that has one; the others end by SystemExit.
    """
    try:
        yield
    except Exception as error:
        if args is not None and args.distributed:
            _meet(args)
        _agree(error)
        raise
    # ESPnet lets those meet that have nothing to say.
    if args is None:
        _agree(None)


def of_first(work: Callable[[], Result]) -> Result:
    """What `work` returns on the first rank, which alone does it; on every rank.

    Raises:
        Exception: as `together`.
    """
    found: list[Any] = [None]
    with together():
        if is_first():
            found = [work()]
    if _are_several():
        torch.distributed.broadcast_object_list(found, src=0)
    return found[0]


def is_first() -> bool:
    """Whether this process writes the files of the training."""
    return not _are_several() or torch.distributed.get_rank() == 0


def _are_several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _meet(args: argparse.Namespace) -> None:
    """Join the other ranks as ESPnet would."""
    option = build_dataclass(DistributedOption, args)
    option.init_options()
    option.init_torch_distributed()


def _agree(error: Exception | None) -> None:
    """Tell the other ranks of an error, and hear of theirs."""
    if not _are_several():
        return
    faults: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(faults, error is not None)
    if not any(faults):
        return
    is_spokesman = faults.index(True) == torch.distributed.get_rank()
    if not is_spokesman:
        sys.exit(1)
