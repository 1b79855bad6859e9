"""Full-batch fits over the data of many processes; each runs the same solver, and one sum an evaluation joins them."""

from __future__ import annotations

from tfminimize._distribute.choose import communicator
from tfminimize._distribute.communicator import Communicator
from tfminimize._distribute.errors import LostError, PeerError
from tfminimize._distribute.shard import shard

__all__ = ["Communicator", "LostError", "PeerError", "communicator", "shard"]
