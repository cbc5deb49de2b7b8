"""Starts commands of geoseg by the hundred: as forks of one process that has imported what they need, each with its fault.

As a program it is that process: it takes orders on stdin, a line of JSON each, and answers on stdout.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import TracebackType

PRELOADED = (
    "geopandas", "matplotlib.backends.backend_agg", "matplotlib.patheffects", "onnx", "pyarrow.pandas_compat", "pyarrow.parquet",
    "rasterio.features", "scipy.spatial", "scipy.stats", "segmentation_models_pytorch", "skimage.draw", "skimage.measure",
    "skimage.segmentation",
)  # fmt: skip
"""Libraries that start no threads when they are imported: a fork has none but its own."""
NOT_PRELOADED = ("geoseg.app", "geoseg.__main__", "geoseg.models.backends", "geoseg.cluster")
STRIP_PIXELS = 20_000
"""So that small scenes have several strips."""
TIME_LIMIT_S = 300.0
CALLS = Path(__file__).with_name("faulty_calls.c")
CALLS_LINE = re.compile(r"^calls (\d+) (\d+)$", re.MULTILINE)
ERROR_LINE = re.compile(r"^(?:Error: |Warning: [\d,]+ scenes? failed; ).*$", re.MULTILINE)
"""A line that says what is wrong. Of many scenes, those that failed are listed, and the others delivered."""
COMMAND_LINE = re.compile(r"^# (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    """What is to happen to a process: the fault and the number of the call as faulty_calls.c has them, and limits.

    `place` is the folder whose files are concerned, `file_bytes` and `memory_bytes` what the system is to limit.
    """

    kind: str = ""
    at: int = 0
    place: str = ""
    file_bytes: int = 0
    memory_bytes: int = 0


NONE = Fault()


class Launcher:
    """The process that forks; it ends with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = 0

    @cached_property
    def library(self) -> Path | None:
        """What makes system calls fail, where there is a compiler for it."""
        compiler, made = shutil.which("cc"), self.folder / "faulty_calls.so"
        if not compiler or sys.platform != "linux":
            return None
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", CALLS, "-o", made], check=True)
        return made

    def __enter__(self) -> Launcher:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
        if self.library:
            environment["LD_PRELOAD"] = str(self.library)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._server = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def start(self, commands: Sequence[str], folder: Path, fault: Fault = NONE) -> Launched:
        """Start commands, one after the other, in a folder."""
        self._started += 1
        log = self.folder / f"log{self._started}.txt"
        task = {"commands": list(commands), "folder": str(folder), "log": str(log), "fault": asdict(fault)}
        return Launched(self, self.ask(task)["pid"], log)

    def ask(self, task: dict[str, object]) -> dict[str, int]:
        """Give an order, and take the answer."""
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(task) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


@dataclass
class Launched:
    """A process at work."""

    launcher: Launcher
    pid: int
    log: Path

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def list_children(self) -> list[int]:
        """The processes that it has started, and those that these have."""
        found: list[int] = []
        for parent in (self.pid, *found):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        return found

    def wait(self) -> int:
        """The exit code once it has ended, negative for a signal; who hangs is ended, which is told by -14."""
        alarm = threading.Timer(TIME_LIMIT_S, os.kill, (self.pid, signal.SIGALRM))
        alarm.start()
        try:
            return self.launcher.ask({"wait": self.pid})["code"]
        finally:
            alarm.cancel()

    def list_errors(self) -> list[str]:
        return ERROR_LINE.findall(self.read())

    def read(self) -> str:
        """What it has said; nothing where it was killed before it could say anything."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def count_calls(self) -> tuple[int, int]:
        """How many calls changed something and how many read, in the place of its fault."""
        changes, reads = CALLS_LINE.findall(self.read())[-1]
        return int(changes), int(reads)

    def find_broken(self) -> int:
        """The number of the command that was at work at last."""
        return max(map(int, COMMAND_LINE.findall(self.read())), default=0)


def serve() -> None:
    """Take orders until there are no more; in a fork, do what was ordered."""
    preload()
    for line in sys.stdin:
        task = json.loads(line)
        if "wait" in task:
            status = os.waitpid(task["wait"], 0)[1]
            answer = {"code": os.waitstatus_to_exitcode(status)}

        else:
            answer = {"pid": os.fork()}
            if answer["pid"] == 0:
                end(work(task))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def preload() -> None:
    """Import what commands need, and keep the collector of garbage from touching, and so copying, it in forks."""
    import geoseg

    for name in PRELOADED:
        import_module(name)
    for module in walk_packages(geoseg.__path__, "geoseg."):
        if not module.name.startswith(NOT_PRELOADED):
            import_module(module.name)
    gc.freeze()


def end(code: int) -> None:
    """End a fork without taking to pieces what it shares."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def work(task: dict) -> int:
    """Do the commands of a task in this process, and tell how the last of them ended."""
    from geoseg.cli.main import geoseg
    from geoseg.raster import plan

    plan.STRIP_PIXELS = STRIP_PIXELS
    os.setsid()
    redirect(task["log"])
    os.chdir(task["folder"])
    calls = arm(Fault(**task["fault"]))
    code = 0
    for number, command in enumerate(task["commands"]):
        sys.stderr.write(f"# {number}\n")
        sys.stderr.flush()
        try:
            geoseg(command.split())
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        if code:
            break
    if calls:
        sys.stderr.write(f"calls {calls.count_changes()} {calls.count_reads()}\n")
    return code


def redirect(log: str) -> None:
    """Let all that is said go to a file, and nothing be heard."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(file, 1)
    os.dup2(file, 2)


def arm(fault: Fault) -> ctypes.CDLL | None:
    """Let the fault happen to this process, and to those that it starts."""
    sys.dont_write_bytecode = True
    os.environ |= {"FAULT": fault.kind, "FAULT_AT": str(fault.at), "FAULT_PLACE": fault.place}
    if fault.file_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.file_bytes, fault.file_bytes))
    if fault.memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (fault.memory_bytes, fault.memory_bytes))
    if "LD_PRELOAD" not in os.environ:
        return None
    calls = ctypes.CDLL(os.environ["LD_PRELOAD"])
    calls.arm()
    return calls


if __name__ == "__main__":
    serve()
