"""Where the app keeps what people bring and what is made of it: a private folder for each session, gone with the session.

Folders of servers that were killed are removed by the next one.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from geoseg.inference.threads import CancelToken
from geoseg.io.staging import LOCK_FILE, remove_if_abandoned

log = logging.getLogger(__name__)

PREFIX = "geoseg-app-"
KEEP_S = 120.0
"""How long a session whose browser is gone is kept: a network that fails for a moment, a page that is loaded again."""
SWEEP_S = 15.0


class BrowserSession:
    """One person's folder; what works for it looks at the token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = CancelToken()
        self.seen = time.monotonic()
        self._numbers = 0
        self._lock = threading.Lock()

    def make_folder(self, what: str) -> Path:
        """A new folder within its own."""
        with self._lock:
            self._numbers += 1
            folder = self.folder / f"{what}-{self._numbers}"
        folder.mkdir()
        return folder

    def close(self) -> None:
        """Stop what works for it, and delete all that it has."""
        self.token.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)


class Workspace:
    """The folder of a server, with one for each session."""

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        remove_dead_workspaces(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._lock = FileLock(self.folder / LOCK_FILE, timeout=0)
        self._lock.acquire()
        self._sessions: dict[str, BrowserSession] = {}
        self._changing = threading.Lock()

    def open_session(self, key: str) -> BrowserSession:
        """The session of a browser, a new one if it has none yet."""
        with self._changing:
            if key not in self._sessions:
                self._sessions[key] = BrowserSession(
                    Path(tempfile.mkdtemp(prefix="session-", dir=self.folder))
                )
            session = self._sessions[key]
        session.seen = time.monotonic()
        return session

    def close_session(self, key: str) -> None:
        with self._changing:
            session = self._sessions.pop(key, None)
        if session:
            session.close()

    def sweep(self, is_connected: Callable[[str], bool], keep_s: float = KEEP_S) -> None:
        """Close the sessions whose browsers have been gone for so long."""
        now = time.monotonic()
        for key, session in list(self._sessions.items()):
            if is_connected(key):
                session.seen = now
            elif now - session.seen > keep_s:
                self.close_session(key)

    def close(self) -> None:
        """Delete everything."""
        for key in list(self._sessions):
            self.close_session(key)
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_dead_workspaces(parent: Path) -> None:
    """Delete the folders of servers that run no more; one that has only just made its folder stays."""
    for folder in parent.glob(f"{PREFIX}*"):
        remove_if_abandoned(folder)


def start_sweeper(workspace: Workspace, is_connected: Callable[[str], bool]) -> None:
    """Look now and then, as long as the process lives, for sessions that have ended."""

    def sweep_on() -> None:
        while True:
            time.sleep(SWEEP_S)
            workspace.sweep(is_connected)

    threading.Thread(target=sweep_on, name="geoseg-app-sweeper", daemon=True).start()
