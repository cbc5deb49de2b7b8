"""Stops a run in the middle, as a person does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from geoseg.inference import resume


@contextmanager
def stop_after(files: int) -> Iterator[None]:
    """Let a run end as by Ctrl-C once it has written so many files of strips."""
    write, written = resume.write_strip, []

    def write_or_stop(path: Path, *given: object) -> None:
        if len(written) == files:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "write_strip", write_or_stop)
        with pytest.raises(KeyboardInterrupt):
            yield
