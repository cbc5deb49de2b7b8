"""Why something failed, in the words of the library that failed, but short."""

from __future__ import annotations

LONGEST = 160


def reason(error: Exception) -> str:
    """An error of another library as a part of one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
