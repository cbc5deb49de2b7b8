"""Worker processes of Dask, on this machine or behind a scheduler. Tasks with paths go out, counts come back: never arrays."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from distributed import Client, KilledWorker, LocalCluster, as_completed
from distributed.client import FutureCancelledError

from geoseg import __version__
from geoseg.cluster.place import SharedPlace
from geoseg.cluster.worker import THREADS, WorkerFacts, describe_worker, list_problems, run_task
from geoseg.errors import GeosegError, InputError, shorten_error
from geoseg.inference.options import PredictOptions
from geoseg.models.backends.base import RuntimeKind
from geoseg.parallel import count_threads
from geoseg.progress import format_count

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/]+:[0-9]+/?")
ANSWER_S = 5.0
"""How long a scheduler may take to answer."""
TASKS_PER_WORKER = 8
"""Small enough that all workers have some to the end, large enough that starting one costs nothing."""
LEAST_IN_FLIGHT = 64


class Workers:
    """Workers that can be given tasks."""

    def __init__(self, client: Client, where: str, threads: int | None = None) -> None:
        self.client = client
        self.where = where
        self.threads = threads
        self.seen = set(self.list_addresses())

    @property
    def is_local(self) -> bool:
        """Whether they were started for this run, on this machine."""
        return self.threads is not None

    def list_addresses(self) -> Mapping[str, str]:
        """The addresses of all workers, each with its host; none once the scheduler is gone."""
        known = self.client.scheduler_info(n_workers=-1) if self.client.status == "running" else {}
        return {address: str(facts["host"]) for address, facts in known.get("workers", {}).items()}

    def wait_for_one(self) -> None:
        """Wait until there is a worker; a cluster may start some only when there is work."""
        if not self.list_addresses():
            log.warning(
                f"{self.where}: has no worker yet; waiting for one (they are started by: dask worker {self.where})"
            )
            self.client.submit(len, (), pure=False).result()

    def settle_model(self, options: PredictOptions) -> tuple[RuntimeKind, str]:
        """How all workers run a model, and which one it is there; they must agree, or results would not."""
        facts = self.describe(options)
        kinds = Counter(
            f"{each.kind.engine} {each.kind.precision} on {each.kind.device.partition(':')[0]}"
            for each in facts.values()
            if each.kind
        )
        if len(kinds) > 1:
            listed = ", ".join(f"{kind} ({number})" for kind, number in kinds.most_common())
            raise InputError(
                f"`device` {options.device}: the workers would not do the same: {listed}; give `device`, `engine` and `precision`"
            )
        if len({each.fingerprint for each in facts.values()}) > 1:
            raise InputError(f"`model` {options.model}: is not the same model on all workers; copy it anew")
        first = next(iter(facts.values()))
        assert first.kind
        device = first.kind.device.partition(":")[0]
        return RuntimeKind(device, first.kind.engine, first.kind.precision), first.fingerprint

    def describe(self, options: PredictOptions | None) -> Mapping[str, WorkerFacts]:
        """Ask every worker whether it can do the work; one line on the first that cannot."""
        self.wait_for_one()
        answers = self.client.run(describe_worker, __version__, options, on_error="return")
        facts = {address: read_facts(answer) for address, answer in answers.items()}
        problems = list_problems(list(facts.items()))
        if problems:
            more = f" (and {len(problems) - 1} more of {len(facts)} workers)" if len(problems) > 1 else ""
            raise InputError(f"{problems[0]}{more}")
        return facts

    def split(self, *runs: Sequence[T]) -> Iterator[Sequence[T]]:
        """Items in the order of their runs, those of each task; a task takes from one run alone."""
        tasks = TASKS_PER_WORKER * max(1, len(self.list_addresses()))
        size = max(1, -(-sum(map(len, runs)) // tasks))
        for run in runs:
            for start in range(0, len(run), size):
                yield run[start : start + size]

    def run(self, place: SharedPlace, call: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Let workers do tasks, the first ones first; each comes back with its result, in any order. An error ends them all."""
        waiting, futures = enumerate(tasks), dict[Any, T]()
        finished = as_completed(loop=self.client.loop)

        def submit(number: int) -> None:
            for place_in_line, task in islice(waiting, number):
                future = self.client.submit(
                    run_task, place, self.count_neighbours(), call, task, pure=False, priority=-place_in_line
                )
                futures[future] = task
                finished.add(future)

        try:
            submit(self.count_tasks_in_flight())
            for future in finished:
                self.seen.update(self.list_addresses() if future.status == "finished" else ())
                yield futures.pop(future), self.take(future)
                submit(max(1, self.count_tasks_in_flight() - len(futures)))
        finally:
            if self.client.status == "running":
                self.client.cancel(list(futures), reason="nobody waits for it", msg="")

    def count_neighbours(self) -> int:
        """How many workers share a machine, at most."""
        return max(Counter(self.list_addresses().values()).values(), default=1)

    def count_tasks_in_flight(self) -> int:
        """Few of 100,000 tasks are known to the scheduler at a time, but enough that no worker waits."""
        return max(LEAST_IN_FLIGHT, TASKS_PER_WORKER * len(self.list_addresses()))

    def take(self, future: Any) -> Any:
        """The result of a task, or one line on why there is none."""
        try:
            return future.result()
        except KilledWorker as error:
            raise GeosegError(
                f"{self.where}: {error.allowed_failures + 1} workers in a row died of the same part of the work, most likely for "
                "want of memory; give them more, or make fewer of them; what is finished is kept"
            ) from error
        except FutureCancelledError as error:
            raise GeosegError(
                f"{self.where}: the scheduler is gone; what is finished is kept: run the same command when it is back"
            ) from error
        except ModuleNotFoundError as error:
            raise InputError(explain_missing_geoseg("a worker", error)) from error

    def report_losses(self) -> None:
        """Say how many workers there were, and how many were lost on the way."""
        there = set(self.list_addresses())
        lost = len(self.seen - there)
        if lost:
            log.info(
                f"Workers {len(there)}, and {lost} lost on the way; what they had not finished was done by others"
            )


def read_facts(answer: Any) -> WorkerFacts:
    """What a worker answered; one that does not know the question has no geoseg, or another one."""
    if isinstance(answer, WorkerFacts):
        return answer
    return WorkerFacts(problem=explain_missing_geoseg("", answer).strip())


def explain_missing_geoseg(who: str, error: Any) -> str:
    if isinstance(error, ModuleNotFoundError | AttributeError):
        return f'{who} has no geoseg {__version__} ({error}): pip install "geoseg[dask]=={__version__}"'
    return f"{who} failed: {shorten_error(error)}"


@contextmanager
def connect_to_scheduler(address: str, answer_s: float = ANSWER_S) -> Iterator[Workers]:
    """Workers behind a scheduler."""
    with keep_dask_quiet(), connect(address, answer_s) as client:
        yield Workers(client, address)


def connect(address: str, answer_s: float, attempts: int = 3) -> Any:
    """A client of a scheduler, or one line on why there is none."""
    try:
        if not ADDRESS.fullmatch(address):
            raise ValueError("not an address of Dask")
        return Client(address, timeout=answer_s, set_as_default=False)
    except AssertionError:  # Dask's client, when a worker leaves at the very moment it is told of the others
        if attempts > 1:
            return connect(address, answer_s, attempts - 1)
        raise
    except (OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        raise InputError(
            f"`dask` {address}: no scheduler answers there ({shorten_error(error)}); an address looks like tcp://10.0.0.5:8786, "
            "and `dask scheduler` prints its own"
        ) from error


@contextmanager
def start_local_workers(number: int) -> Iterator[Workers]:
    """Worker processes on this machine, which share its threads, and end with this one."""
    threads = max(1, count_threads() // number)
    with (
        keep_dask_quiet(),
        LocalCluster(
            n_workers=number, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1", memory_limit=0,
            env={THREADS: str(threads)}, silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield Workers(client, f"{format_count(number, 'worker')} on this machine", threads)


@contextmanager
def keep_dask_quiet() -> Iterator[None]:
    """Leave it to geoseg to say what went wrong, in a line."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
