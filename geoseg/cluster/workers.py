"""The worker processes that somebody asks for; Dask is loaded only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from geoseg.cluster.options import WorkerOptions
from geoseg.errors import InputError

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers

DASK_PACKAGES = {"dask", "distributed"}
INSTALL_DASK = 'pip install "geoseg[dask]"'


def open_workers(options: WorkerOptions) -> AbstractContextManager[Workers | None]:
    """Workers as they are asked for; none where all is to be done in this process."""
    if options.dask is not None and options.workers is not None:
        raise InputError(
            f"`workers` {options.workers}: are on this machine, and `dask` names others; give one of the two"
        )
    return start_workers(options) if options.dask is not None or options.workers else nullcontext()


@contextmanager
def start_workers(options: WorkerOptions) -> Iterator[Workers]:
    with explain_missing_dask(options):
        from geoseg.cluster.dask import connect_to_scheduler, start_local_workers
    opened = (
        start_local_workers(options.workers) if options.workers else connect_to_scheduler(str(options.dask))
    )
    with opened as workers:
        yield workers


@contextmanager
def explain_missing_dask(options: WorkerOptions) -> Iterator[None]:
    """Say in one line that Dask is not installed, and the command that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in DASK_PACKAGES:
            raise
        asked = f"`dask` {options.dask}" if options.dask is not None else f"`workers` {options.workers}"
        raise InputError(f"{asked}: needs {error.name}, which is not installed: {INSTALL_DASK}") from error
