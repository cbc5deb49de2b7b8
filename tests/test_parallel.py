"""Results come in the order of the calls, from other processes or this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from calls import fail, interrupted, killed, slowly

from geoseg.errors import GeosegError, InputError
from geoseg.parallel import WAITING_PER_WORKER, StandingWorkers, WorkerPool, count_processors


def results_of(call, number: int) -> list[tuple[int, int]]:
    with WorkerPool[tuple[int, int]](number) as workers:
        workers.submit(call)
        return list(workers.take_rest())


def test_in_order_from_two_processes() -> None:
    with WorkerPool[tuple[int, int]](2) as workers:
        early = []
        for number in range(8):
            workers.submit(slowly, number)
            early += list(workers.take_ready())
            assert len(workers._waiting) <= 2 * WAITING_PER_WORKER
        results = early + list(workers.take_rest())
    assert [number for number, _ in results] == list(range(8))
    assert os.getpid() not in {process for _, process in results}


def test_in_this_process_without_any_other() -> None:
    with WorkerPool[tuple[int, int]](0) as workers:
        workers.submit(slowly, 2)
        assert list(workers.take_ready()) == [(2, os.getpid())]
        assert list(workers.take_rest()) == []


@pytest.mark.parametrize("number", [0, 1])
def test_an_error_arrives_as_it_was_raised(number: int) -> None:
    with pytest.raises(InputError, match="told by a worker"):
        results_of(fail, number)


def test_an_interrupt_is_left_to_the_parent() -> None:
    assert results_of(interrupted, 1) == [(0, 0)]


def test_a_killed_process_is_told_in_one_line() -> None:
    with pytest.raises(GeosegError, match="fewer `workers`"):
        results_of(killed, 1)


def test_workers_that_stand_by_stay_until_they_are_killed() -> None:
    standing = StandingWorkers(1)

    def find_process(call) -> int:
        with WorkerPool[tuple[int, int]](standing) as workers:
            workers.submit(call, *([2] if call is slowly else []))
            return next(workers.take_rest())[1]

    standing.start(os.getpid)
    first = find_process(slowly)
    assert first == find_process(slowly) != os.getpid()
    with pytest.raises(InputError, match="told by a worker"):
        find_process(fail)
    assert find_process(slowly) == first
    with pytest.raises(GeosegError, match="was killed"):
        find_process(killed)
    assert find_process(slowly) != first
    standing.close()


def test_a_script_is_not_run_again_in_its_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    support = str(Path(__file__).parent / "support")
    script.write_text(
        f"import sys; sys.path.insert(0, {support!r})\n"
        "import calls, geoseg.parallel\n"
        "with geoseg.parallel.WorkerPool(1) as workers:\n"
        "    workers.submit(calls.slowly, 2)\n"
        "    print(len(list(workers.take_rest())), __name__, sys.modules['__main__'].__file__ == __file__)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["1", "__main__", "True"]


def test_there_is_at_least_one_processor() -> None:
    assert count_processors() >= 1


def test_workers_end_with_a_killed_parent() -> None:
    support = str(Path(__file__).parent / "support")
    code = f"import sys; sys.path.insert(0, {support!r}); import calls\nif __name__ == '__main__': calls.use_two_workers()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert [parent.stdout.readline() for _ in range(2)] == ["working\n"] * 2
        parent.kill()
        try:
            parent.communicate(timeout=20)  # ends when the last worker lets go of the pipe
        except subprocess.TimeoutExpired:
            pytest.fail("workers outlive their parent")
