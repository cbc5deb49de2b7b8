"""A session with Earth Engine: credentials and project, one pool of connections, and every answer or refusal.

Credentials are looked for in a fixed order and are never printed, logged or stored.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import ee
import google.oauth2.service_account
import googleapiclient.errors
import httplib2
import requests
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from requests.adapters import HTTPAdapter

from gee.errors import RateLimiter, RetryPolicy, make_refusal
from geoseg.errors import InputError

log = logging.getLogger(__name__)

EARTH_ENGINE_SCOPE = "https://www.googleapis.com/auth/earthengine"
SCOPES = {
    "direct": (EARTH_ENGINE_SCOPE,),
    "asset": (EARTH_ENGINE_SCOPE,),
    "drive": (EARTH_ENGINE_SCOPE, "https://www.googleapis.com/auth/drive"),
    "gcs": (EARTH_ENGINE_SCOPE, "https://www.googleapis.com/auth/devstorage.read_write"),
}
TOKEN_ADDRESS = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
PROJECT_VARIABLES = ("EE_PROJECT_ID", "GOOGLE_CLOUD_PROJECT")
SIGN_IN_HELP = (
    "Not signed in to Earth Engine. Three ways to sign in:",
    "  1. a person: run `earthengine authenticate`, then geoseg export --project YOUR-PROJECT",
    "  2. a server: --credentials KEY.json, or GOOGLE_APPLICATION_CREDENTIALS, with a service account's key",
    "  3. Google Cloud's own tools: run `gcloud auth application-default login`",
)


@dataclass(frozen=True)
class Identity:
    """Credentials and the project that pays. No credentials: a server on this computer that asks for none."""

    credentials: Credentials | None
    project: str
    origin: str


@dataclass(frozen=True)
class FoundCredentials:
    """Credentials, the project they came with, and where they were found."""

    credentials: Credentials
    project: str
    origin: str


def sign_in(file: Path | None, project: str, via: str) -> Identity:
    """The first credentials found, and the project: the one given, the environment's, or the credentials' own."""
    found = find_credentials(file, SCOPES[via])
    if found is None:
        for line in SIGN_IN_HELP:
            log.info(line)
        raise InputError(
            "not signed in to Earth Engine; looked at --credentials, EARTHENGINE_TOKEN, "
            f"GOOGLE_APPLICATION_CREDENTIALS, {locate_stored_credentials()} and gcloud's credentials"
        )
    return Identity(found.credentials, choose_project(project, found.project), found.origin)


def choose_project(given: str, own: str) -> str:
    """The Google Cloud project to work in."""
    project = given or next(filter(None, map(os.environ.get, PROJECT_VARIABLES)), "") or own
    if not project:
        raise InputError("Earth Engine needs a Google Cloud project: give --project or set EE_PROJECT_ID")
    return project


def find_credentials(file: Path | None, scopes: tuple[str, ...]) -> FoundCredentials | None:
    """Look where credentials may be, in order."""
    looks: tuple[Callable[[], FoundCredentials | None], ...] = (
        lambda: read_credentials_file(file, scopes) if file else None,
        lambda: read_token_variable(scopes),
        lambda: read_key_variable(scopes),
        read_stored_credentials,
        lambda: find_default_credentials(scopes),
    )
    return next(filter(None, (look() for look in looks)), None)


def read_credentials_file(path: Path, scopes: tuple[str, ...]) -> FoundCredentials:
    """Credentials in a file that the user names: a service account's key or a person's authorisation."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise InputError(f"the credentials in {path} cannot be read: {reason}") from None
    return parse_credentials(content, scopes, str(path))


def parse_credentials(content: Any, scopes: tuple[str, ...], origin: str) -> FoundCredentials:
    """Credentials as Google writes them. Messages name the origin and the kind, never the content."""
    kind = content.get("type", "authorized_user") if isinstance(content, Mapping) else "no object"
    try:
        if kind == "service_account":
            return FoundCredentials(
                load_service_account(content, scopes), str(content.get("project_id", "")), origin
            )
        if kind == "authorized_user":
            return FoundCredentials(load_user_credentials(content), read_user_project(content), origin)
    except (ValueError, KeyError):
        raise InputError(f"the credentials in {origin} are damaged or incomplete ({kind})") from None
    raise InputError(
        f"the credentials in {origin} are of the kind {kind}; give a service account's key or an authorized_user "
        "(others work through GOOGLE_APPLICATION_CREDENTIALS)"
    )


def load_service_account(content: Mapping[str, Any], scopes: tuple[str, ...]) -> Credentials:
    """A service account, with the scopes that it needs."""
    credentials: Credentials = google.oauth2.service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
        content, scopes=scopes
    )
    return credentials


def load_user_credentials(content: Mapping[str, Any]) -> Credentials:
    """A person's authorisation: no scopes are asked for, so that those once granted hold."""
    credentials: Credentials = google.oauth2.credentials.Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=content["refresh_token"],
        client_id=content["client_id"],
        client_secret=content["client_secret"],
        token_uri=TOKEN_ADDRESS,
    )
    return credentials


def read_user_project(content: Mapping[str, Any]) -> str:
    """The project stored with a person's authorisation."""
    return str(content.get("project") or content.get("quota_project_id") or "")


def read_token_variable(scopes: tuple[str, ...]) -> FoundCredentials | None:
    """EARTHENGINE_TOKEN: the text of a credentials file."""
    text = os.environ.get("EARTHENGINE_TOKEN", "")
    if not text:
        return None
    try:
        return parse_credentials(json.loads(text), scopes, "EARTHENGINE_TOKEN")
    except ValueError:
        raise InputError("EARTHENGINE_TOKEN does not hold the JSON text of a credentials file") from None


def read_key_variable(scopes: tuple[str, ...]) -> FoundCredentials | None:
    """GOOGLE_APPLICATION_CREDENTIALS: loaded here, because the client would ask for a token without scopes."""
    path = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if not path:
        return None
    try:
        return load_default_credentials(scopes, "GOOGLE_APPLICATION_CREDENTIALS")
    except DefaultCredentialsError as error:
        raise InputError(f"GOOGLE_APPLICATION_CREDENTIALS={path} cannot be used: {error}") from None


def load_default_credentials(scopes: tuple[str, ...], origin: str) -> FoundCredentials:
    """What Google's own library finds; its advice on projects is left out, for geoseg gives its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        credentials, project = google.auth.default(scopes=scopes)
    return FoundCredentials(credentials, project or "", origin)


def locate_stored_credentials() -> Path:
    """Where `earthengine authenticate` keeps a person's authorisation."""
    return Path("~/.config/earthengine/credentials").expanduser()


def read_stored_credentials() -> FoundCredentials | None:
    """What `earthengine authenticate` stored."""
    from ee import oauth

    path = locate_stored_credentials()
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        own = {"client_id": oauth.CLIENT_ID, "client_secret": oauth.CLIENT_SECRET}
        return FoundCredentials(
            load_user_credentials({**own, **stored}), read_user_project(stored), str(path)
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is damaged: run `earthengine authenticate --force`") from None


def find_default_credentials(scopes: tuple[str, ...]) -> FoundCredentials | None:
    """What gcloud or the machine itself provides."""
    try:
        return load_default_credentials(scopes, "Google Cloud's default credentials")
    except DefaultCredentialsError:
        return None


CONNECT_S = 20.0
ANSWER_S = 330.0
QUOTA_HEADER = "x-earth-engine-quota-status"
RESTRICTED = "parallelism_restricted=true"


class Transport:
    """Carries the Earth Engine client's requests, in httplib2's manner, and notes how the quota stands."""

    def __init__(self, connections: int, *, through_proxies: bool) -> None:
        self.is_restricted = False
        self.session = requests.Session()
        self.session.trust_env = through_proxies
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(pool_maxsize=connections))

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
        redirections: int | None = None,
        connection_type: Any = None,
    ) -> tuple[httplib2.Response, bytes]:
        """One request and its whole answer; a lost or cut answer is a ConnectionError, a late one a TimeoutError."""
        try:
            answer = self.session.request(
                method, uri, data=body, headers=headers, timeout=(CONNECT_S, ANSWER_S)
            )
        except requests.Timeout as error:
            raise TimeoutError(f"no answer from {urlsplit(uri).hostname} within {ANSWER_S:g} s") from error
        except requests.RequestException as error:
            raise ConnectionError(
                f"{urlsplit(uri).netloc} cannot be reached, or broke off its answer"
            ) from error
        return self.convert_answer(answer), answer.content

    def convert_answer(self, answer: requests.Response) -> httplib2.Response:
        """The answer's headers as the client takes them; the note on the quota is taken out, for the client would only warn of it."""
        headers: dict[str, Any] = {name.lower(): value for name, value in answer.headers.items()}
        self.is_restricted |= RESTRICTED in headers.pop(QUOTA_HEADER, "")
        return httplib2.Response({**headers, "status": answer.status_code})


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this computer itself."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


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

    def identity(self) -> Identity:
        """Who is asking; a server on this computer needs no sign-in."""
        if is_loopback(self.url) and not self.credentials:
            return Identity(None, self.project or LOCAL_PROJECT, "none needed")
        if self.url.startswith("http://") and not is_loopback(self.url):
            raise InputError(f"--endpoint {self.url} would send credentials in the clear; use https")
        return sign_in(self.credentials, self.project, self.via)


class Session:
    """What may be asked of Earth Engine. One at a time in a process: the client keeps its state globally."""

    def __init__(self, url: str, identity: Identity, limiter: RateLimiter, retries: RetryPolicy) -> None:
        self.url = url
        self.identity = identity
        self.project = identity.project
        self.limiter = limiter
        self.retries = retries
        self.transport = Transport(limiter.most + 4, through_proxies=not is_loopback(url))

    def connect(self) -> None:
        """Load what the service can do."""
        ee.Reset()
        ee.data.setMaxRetries(0)
        skip_deprecation_notices()
        ee.Initialize(
            credentials=self.identity.credentials,
            url=self.url,
            project=self.project,
            http_transport=self.transport,
        )

    def value(self, thing: Any) -> Any:
        """A number, text, list or dictionary, computed by the service."""
        return self.call_with_retries(lambda: ee.data.computeValue(thing))

    def pixels(self, request: Mapping[str, Any]) -> bytes:
        """One tile as the bytes of a GeoTIFF. Refusals come out at once, for the caller may ask for less."""
        with self.limiter.hold_slot():
            content: bytes = self.ask(lambda: ee.data.computePixels(dict(request)))
        return content

    def call_with_retries(self, call: Callable[[], Answer]) -> Answer:
        """The answer to a call, asked again as long as the policy of retries has it."""
        return self.retries.call_with_retries(lambda: self.ask(call))

    def ask(self, call: Callable[[], Answer]) -> Answer:
        """The answer to a call, or the refusal that the client's exception means."""
        try:
            answer = call()
        except TransportError as error:
            raise make_refusal(ConnectionError(str(error)), self.project) from error
        except CLIENT_ERRORS as error:
            raise make_refusal(error, self.project) from error
        if self.transport.is_restricted:
            self.limiter.narrow(WORKERS_WHEN_RESTRICTED)
        return answer


def skip_deprecation_notices() -> None:
    """Keep the client from fetching its list of retired assets: from a fixed host, and without a time limit."""
    known = ee.deprecation.DeprecatedAsset("none of ours", None, None, None)
    ee.deprecation.deprecated_assets = {known.id: known}


@contextmanager
def open_session(access: Access, workers: int, retries: RetryPolicy) -> Iterator[Session]:
    """Sign in and load what the service can do; says once if the project's quota is restricted."""
    opened = Session(access.url, access.identity(), RateLimiter(workers), retries)
    opened.call_with_retries(opened.connect)
    log.info(
        f"Earth Engine at {opened.url}, project {opened.project}, signed in by: {opened.identity.origin}"
    )
    try:
        yield opened
    finally:
        if opened.transport.is_restricted:
            log.warning(
                f"project {opened.project} has used up its noncommercial compute quota and is in restricted mode: "
                f"requests were slow, and only {WORKERS_WHEN_RESTRICTED} went at a time"
            )
        ee.Reset()
