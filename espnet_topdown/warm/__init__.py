"""Commands that a stage or a cascade runs: warm in a process that has imported ESPnet, or cold.

Each has its own log, and ends with the process that asked for it, whatever ended that one. Which
commands to run is for the caller to say.
"""

from espnet_topdown.warm.client import (
    LSTM,
    SOCKET,
    Command,
    Handle,
    environment_lstm,
    environment_threads,
    rotate,
    run_all,
    start,
)
from espnet_topdown.warm.groups import Group

__all__ = [
    "LSTM",
    "SOCKET",
    "Command",
    "Group",
    "Handle",
    "environment_lstm",
    "environment_threads",
    "rotate",
    "run_all",
    "start",
]
