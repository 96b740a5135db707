"""What a person is asked to say: a fresh phrase each time, so that no recording of it exists."""

import secrets
from functools import cache
from importlib.resources import files

from membrane.errors import UsageError

LENGTHS = {"digits": 6, "words": 4}
"""How many digits or words a prompt has by default."""


@cache
def prompt_words() -> tuple[str, ...]:
    """Return the words that prompts are made of.

    Any two of them differ in at least half of their phones (edit distance by the longer word), so
    that one is not taken for another.
    """
    listed = files("membrane.phrase").joinpath("prompt_words.txt")
    return tuple(listed.read_text(encoding="utf-8").split())


def random_prompt(kind: str = "digits", length: int | None = None) -> str:
    """Return a fresh prompt that nobody can foretell.

    Parameters
    ----------
    kind : str
        "digits": figures, any of which may be repeated. "words": easy words, none twice.
    length : int, optional
        How many of them; `LENGTHS` by default.

    Returns
    -------
    str
        What is shown: figures with spaces between them, or words. All prompts of a kind and a
        length are equally likely.

    Raises
    ------
    UsageError
        If there is no such kind, or no prompt of that length.
    """
    if kind not in LENGTHS:
        raise UsageError(f"no prompt is of kind {kind!r}: choose from {', '.join(LENGTHS)}")
    length = LENGTHS[kind] if length is None else length
    if kind == "digits":
        if length < 1:
            raise UsageError(f"a prompt of {length} digits cannot be said: ask for 1 or more")
        return " ".join(str(secrets.randbelow(10)) for _ in range(length))
    words = prompt_words()
    if not 1 <= length <= len(words):
        raise UsageError(f"a prompt cannot have {length} words: ask for 1 to {len(words)}")
    return " ".join(secrets.SystemRandom().sample(words, length))
