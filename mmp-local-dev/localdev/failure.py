"""What ends a command: one sentence, and the code it ends with."""

from __future__ import annotations


class Failure(Exception):  # noqa: N818 - not every failure is an error of ours
    """Something that the user is told in one sentence.

    Parameters
    ----------
    sentence : str
        What and where.
    hint : str, optional
        What to do about it.
    code : int, optional
        Exit code.
    """

    def __init__(self, sentence: str, hint: str = "", *, code: int = 1) -> None:
        super().__init__(f"{sentence}. {hint}" if hint else sentence)
        self.code = code
