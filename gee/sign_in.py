"""Who is asking: credentials and project, looked for in a fixed order, never printed, logged or stored."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google.auth
import google.oauth2.credentials
import google.oauth2.service_account
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError

from geoseg.errors import InputError
from geoseg.narrator import Narrator

PIXELS = "https://www.googleapis.com/auth/earthengine"
SCOPES = {
    "direct": (PIXELS,),
    "asset": (PIXELS,),
    "drive": (PIXELS, "https://www.googleapis.com/auth/drive"),
    "gcs": (PIXELS, "https://www.googleapis.com/auth/devstorage.read_write"),
}
TOKEN_ADDRESS = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
PROJECT_VARIABLES = ("EE_PROJECT_ID", "GOOGLE_CLOUD_PROJECT")
THREE_WAYS = (
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
class Found:
    """Credentials, the project they came with, and where they were found."""

    credentials: Credentials
    project: str
    origin: str


def sign_in(file: Path | None, project: str, via: str, narrator: Narrator) -> Identity:
    """The first credentials found, and the project: the one given, the environment's, or the credentials' own."""
    found = find_credentials(file, SCOPES[via])
    if found is None:
        for line in THREE_WAYS:
            narrator.say(line)
        raise InputError(
            "not signed in to Earth Engine; looked at --credentials, EARTHENGINE_TOKEN, "
            f"GOOGLE_APPLICATION_CREDENTIALS, {stored_file()} and gcloud's credentials"
        )
    return Identity(found.credentials, chosen_project(project, found.project), found.origin)


def chosen_project(given: str, own: str) -> str:
    """The Google Cloud project to work in."""
    project = given or next(filter(None, map(os.environ.get, PROJECT_VARIABLES)), "") or own
    if not project:
        raise InputError("Earth Engine needs a Google Cloud project: give --project or set EE_PROJECT_ID")
    return project


def find_credentials(file: Path | None, scopes: tuple[str, ...]) -> Found | None:
    """Look where credentials may be, in order."""
    looks: tuple[Callable[[], Found | None], ...] = (
        lambda: from_file(file, scopes) if file else None,
        lambda: from_token_variable(scopes),
        lambda: from_key_variable(scopes),
        from_stored,
        lambda: from_default(scopes),
    )
    return next(filter(None, (look() for look in looks)), None)


def from_file(path: Path, scopes: tuple[str, ...]) -> Found:
    """Credentials in a file that the user names: a service account's key or a person's authorisation."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise InputError(f"the credentials in {path} cannot be read: {reason}") from None
    return from_content(content, scopes, str(path))


def from_content(content: Any, scopes: tuple[str, ...], origin: str) -> Found:
    """Credentials as Google writes them. Messages name the origin and the kind, never the content."""
    kind = content.get("type", "authorized_user") if isinstance(content, Mapping) else "no object"
    try:
        if kind == "service_account":
            return Found(robot(content, scopes), str(content.get("project_id", "")), origin)
        if kind == "authorized_user":
            return Found(person(content), own_project(content), origin)
    except (ValueError, KeyError):
        raise InputError(f"the credentials in {origin} are damaged or incomplete ({kind})") from None
    raise InputError(
        f"the credentials in {origin} are of the kind {kind}; give a service account's key or an authorized_user "
        "(others work through GOOGLE_APPLICATION_CREDENTIALS)"
    )


def robot(content: Mapping[str, Any], scopes: tuple[str, ...]) -> Credentials:
    """A service account, with the scopes that it needs."""
    credentials: Credentials = google.oauth2.service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
        content, scopes=scopes
    )
    return credentials


def person(content: Mapping[str, Any]) -> Credentials:
    """A person's authorisation: no scopes are asked for, so that those once granted hold."""
    credentials: Credentials = google.oauth2.credentials.Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=content["refresh_token"],
        client_id=content["client_id"],
        client_secret=content["client_secret"],
        token_uri=TOKEN_ADDRESS,
    )
    return credentials


def own_project(content: Mapping[str, Any]) -> str:
    """The project stored with a person's authorisation."""
    return str(content.get("project") or content.get("quota_project_id") or "")


def from_token_variable(scopes: tuple[str, ...]) -> Found | None:
    """EARTHENGINE_TOKEN: the text of a credentials file."""
    text = os.environ.get("EARTHENGINE_TOKEN", "")
    if not text:
        return None
    try:
        return from_content(json.loads(text), scopes, "EARTHENGINE_TOKEN")
    except ValueError:
        raise InputError("EARTHENGINE_TOKEN does not hold the JSON text of a credentials file") from None


def from_key_variable(scopes: tuple[str, ...]) -> Found | None:
    """GOOGLE_APPLICATION_CREDENTIALS: loaded here, because the client would ask for a token without scopes."""
    path = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if not path:
        return None
    try:
        return default_credentials(scopes, "GOOGLE_APPLICATION_CREDENTIALS")
    except DefaultCredentialsError as error:
        raise InputError(f"GOOGLE_APPLICATION_CREDENTIALS={path} cannot be used: {error}") from None


def default_credentials(scopes: tuple[str, ...], origin: str) -> Found:
    """What Google's own library finds; its advice on projects is left out, for geoseg gives its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        credentials, project = google.auth.default(scopes=scopes)
    return Found(credentials, project or "", origin)


def stored_file() -> Path:
    """Where `earthengine authenticate` keeps a person's authorisation."""
    return Path("~/.config/earthengine/credentials").expanduser()


def from_stored() -> Found | None:
    """What `earthengine authenticate` stored."""
    from ee import oauth

    path = stored_file()
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text())
        own = {"client_id": oauth.CLIENT_ID, "client_secret": oauth.CLIENT_SECRET}
        return Found(person({**own, **stored}), own_project(stored), str(path))
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is damaged: run `earthengine authenticate --force`") from None


def from_default(scopes: tuple[str, ...]) -> Found | None:
    """What gcloud or the machine itself provides."""
    try:
        return default_credentials(scopes, "Google Cloud's default credentials")
    except DefaultCredentialsError:
        return None
