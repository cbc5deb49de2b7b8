"""A conversation with Earth Engine: opened once, every refusal understood."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ee
import googleapiclient.errors
from google.auth.exceptions import GoogleAuthError, TransportError

from gee.faults import refusal
from gee.patience import Gate, Patience
from gee.sign_in import Identity, sign_in
from gee.transport import Transport, is_loopback
from geoseg.errors import InputError
from geoseg.narrator import QUIET, Narrator

Answer = TypeVar("Answer")

ENDPOINTS = {
    "standard": "https://earthengine.googleapis.com",
    "high-volume": "https://earthengine-highvolume.googleapis.com",
}
ENDPOINT_VARIABLE = "GEOSEG_EE_URL"
LOCAL_PROJECT = "geoseg-local"
WORKERS_WHEN_RESTRICTED = 2
CLIENT_ERRORS = (
    ee.EEException,
    googleapiclient.errors.Error,
    GoogleAuthError,
    ConnectionError,
    TimeoutError,
)


@dataclass(frozen=True)
class Access:
    """How a user wants to reach Earth Engine."""

    endpoint: str = ""
    project: str = ""
    credentials: Path | None = None
    via: str = "direct"

    @property
    def url(self) -> str:
        """The address of the service: one given, the environment's, or the standard one."""
        chosen = self.endpoint or os.environ.get(ENDPOINT_VARIABLE, "") or "standard"
        url = ENDPOINTS.get(chosen, chosen).rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise InputError(f"--endpoint {chosen} is neither a URL nor one of {', '.join(ENDPOINTS)}")
        return url

    def identity(self, narrator: Narrator) -> Identity:
        """Who is asking; a server on this computer needs no sign-in."""
        if is_loopback(self.url) and not self.credentials:
            return Identity(None, self.project or LOCAL_PROJECT, "none needed")
        if self.url.startswith("http://") and not is_loopback(self.url):
            raise InputError(f"--endpoint {self.url} would send credentials in the clear; use https")
        return sign_in(self.credentials, self.project, self.via, narrator)


class Session:
    """What may be asked of Earth Engine. One at a time in a process: the client keeps its state globally."""

    def __init__(self, url: str, identity: Identity, gate: Gate, patience: Patience) -> None:
        self.url = url
        self.identity = identity
        self.project = identity.project
        self.gate = gate
        self.patience = patience
        self.transport = Transport(gate.most + 4, through_proxies=not is_loopback(url))

    def connect(self) -> None:
        """Load what the service can do."""
        ee.Reset()
        ee.data.setMaxRetries(0)
        skip_notices()
        ee.Initialize(
            credentials=self.identity.credentials,
            url=self.url,
            project=self.project,
            http_transport=self.transport,
        )

    def value(self, thing: Any) -> Any:
        """A number, text, list or dictionary, computed by the service."""
        return self.insist(lambda: ee.data.computeValue(thing))

    def pixels(self, request: Mapping[str, Any]) -> bytes:
        """One tile as the bytes of a GeoTIFF. Refusals come out at once, for the caller may ask for less."""
        with self.gate.entered():
            content: bytes = self.ask(lambda: ee.data.computePixels(dict(request)))
        return content

    def insist(self, call: Callable[[], Answer]) -> Answer:
        """The answer to a call, asked again as patience has it."""
        return self.patience.insist(lambda: self.ask(call))

    def ask(self, call: Callable[[], Answer]) -> Answer:
        """The answer to a call, or the refusal that the client's exception means."""
        try:
            answer = call()
        except TransportError as error:
            raise refusal(ConnectionError(str(error)), self.project) from error
        except CLIENT_ERRORS as error:
            raise refusal(error, self.project) from error
        if self.transport.is_restricted:
            self.gate.narrow(WORKERS_WHEN_RESTRICTED)
        return answer


def skip_notices() -> None:
    """Keep the client from fetching its list of retired assets: from a fixed host, and without a time limit."""
    known = ee.deprecation.DeprecatedAsset("none of ours", None, None, None)
    ee.deprecation.deprecated_assets = {known.id: known}


@contextmanager
def session(
    access: Access, workers: int, patience: Patience, narrator: Narrator = QUIET
) -> Iterator[Session]:
    """Sign in and load what the service can do; says once if the project's quota is restricted."""
    opened = Session(access.url, access.identity(narrator), Gate(workers), patience)
    opened.insist(opened.connect)
    narrator.say(
        f"Earth Engine at {opened.url}, project {opened.project}, signed in by: {opened.identity.origin}"
    )
    try:
        yield opened
    finally:
        if opened.transport.is_restricted:
            narrator.warn(
                f"project {opened.project} has used up its noncommercial compute quota and is in restricted mode: "
                f"requests were slow, and only {WORKERS_WHEN_RESTRICTED} went at a time"
            )
        ee.Reset()
