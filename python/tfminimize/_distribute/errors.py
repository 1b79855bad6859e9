"""The errors of a solve of many processes."""

from __future__ import annotations

__all__ = ["LostError", "PeerError"]


class PeerError(RuntimeError):
    """Another process of the solve has failed, so the solve has ended here too.

    Parameters
    ----------
    rank : int
        Of the process that has failed; the lowest, if several have.
    error_type : str
        The name of its error's class.
    text : str
        What its error says.

    Examples
    --------
    >>> error = tfm.distribute.PeerError(3, "ValueError", "the loss is odd")
    >>> print(error)
    process 3 has ended the solve with ValueError: the loss is odd
    """

    def __init__(self, rank: int, error_type: str, text: str) -> None:
        super().__init__(rank, error_type, text)
        self.rank = rank
        self.error_type = error_type
        self.text = text

    def __str__(self) -> str:
        return f"process {self.rank} has ended the solve with {self.error_type}: {self.text}"


class LostError(ConnectionError):
    """Another process did not answer in time, or the connection to it is gone.

    Examples
    --------
    >>> issubclass(tfm.distribute.LostError, ConnectionError)
    True
    """
