"""How often commands were disturbed, how many files were damaged, and what did not hold: the tables of the documentation.

    python tests/benchmarks/faults.py --seeds 5 --damaged 3000
    python tests/benchmarks/faults.py --every 5 --only publish

The second lets each fifth call that writes, and then each fifth that reads, fail once. With --first 20, both go on where an
earlier run has ended: at the seed, the damaged file or the call with this number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from damaged import KINDS, Outcome, furnish_sound, run_cases
from disturbance import FAULTS, Attempt, Bench, can_happen, disturb, sweep
from launcher import Launcher
from made import write_tiny_model
from undertakings import UNDERTAKINGS, furnish_given

CASES_AT_ONCE = 250


def disturb_all(bench: Bench, seeds: range, named: str) -> Iterator[tuple[str, Attempt]]:
    """Let every fault happen to every undertaking, as often as there are seeds."""
    for seed in seeds:
        for undertaking in UNDERTAKINGS:
            for fault in FAULTS:
                if named in undertaking.name and not can_happen(bench, undertaking, fault):
                    yield fault, disturb(bench, undertaking, fault, seed)


def sweep_all(bench: Bench, first: int, every: int, named: str) -> Iterator[tuple[str, Attempt]]:
    """Let calls that write, then calls that read, fail one after another."""
    for undertaking in UNDERTAKINGS:
        for kind in ("broken", "unreadable") if named in undertaking.name else ():
            for attempt in sweep(bench, undertaking, kind, first, every):
                yield kind, attempt


def damage_all(given: Path, folder: Path, cases: range) -> Iterator[Outcome]:
    for first in cases[::CASES_AT_ONCE]:
        yield from run_cases(given, folder, first, min(first + CASES_AT_ONCE, cases.stop))


def print_faults(attempts: Iterable[tuple[str, Attempt]]) -> None:
    happened, failed = Counter[str](), Counter[str]()
    for fault, attempt in attempts:
        happened[fault] += 1
        failed[fault] += bool(attempt.complaints)
        for complaint in attempt.complaints:
            print(
                f"{attempt.undertaking.name}, {fault}{attempt.detail}: {complaint}",
                file=sys.stderr,
                flush=True,
            )
    print("| fault | times | failed |\n|---|---|---|")
    for fault, times in happened.items():
        print(f"| {fault} | {times:,} | {failed[fault]:,} |")
    print(f"| all | {happened.total():,} | {failed.total():,} |")


def print_damages(given: Path, folder: Path, cases: range) -> None:
    tried, used, failed = Counter[str](), Counter[str](), Counter[str]()
    for outcome in damage_all(given, folder, cases):
        tried[outcome.file] += 1
        used[outcome.file] += outcome.exit_code == 0
        failed[outcome.file] += not outcome.is_well
        if not outcome.is_well:
            print(outcome, file=sys.stderr)
    print("| file | damaged | still usable | refused in one line | failed |\n|---|---|---|---|---|")
    for name in sorted(tried):
        refused = tried[name] - used[name] - failed[name]
        print(f"| {name} | {tried[name]:,} | {used[name]:,} | {refused:,} | {failed[name]:,} |")
    print(f"| {len(KINDS)} kinds | {tried.total():,} | {used.total():,} | | {failed.total():,} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--damaged", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="the first seed, damaged file and call")
    parser.add_argument("--every", type=int, help="let every so many calls fail instead, one in each run")
    parser.add_argument("--only", default="", help="undertakings whose names hold this")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        given = furnish_given(folder / "given", write_tiny_model(folder / "tiny"))
        furnish_sound(given)
        with Launcher(folder) as launcher:
            bench = Bench(launcher, given, folder)
            if asked.every:
                print_faults(sweep_all(bench, max(1, asked.first), asked.every, asked.only))
            elif asked.seeds:
                print_faults(disturb_all(bench, range(asked.first, asked.first + asked.seeds), asked.only))
        if asked.damaged and not asked.every:
            print_damages(given, folder / "damaged", range(asked.first, asked.first + asked.damaged))


if __name__ == "__main__":
    main()
