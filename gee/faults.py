"""What Earth Engine's refusals mean: what may be asked again, what must be asked smaller, what never will work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from geoseg.errors import GeosegError, InputError


class RefusalError(GeosegError):
    """Earth Engine did not give what was asked for."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class TooLargeError(RefusalError):
    """A smaller piece of the same may be accepted."""


class BusyError(RefusalError):
    """The same may be accepted later, and fewer at a time."""


class FlakyError(RefusalError):
    """The same will probably be accepted when asked again."""


class AlreadyStartedError(RefusalError):
    """The batch task was started by an earlier request of the same id."""


class DeniedError(RefusalError, InputError):
    """The same will never be accepted; the message says what to change."""


@dataclass(frozen=True)
class Meaning:
    """What a refusal whose text matches `pattern` means, and what to tell the user beside the text."""

    pattern: str
    refusal: type[RefusalError]
    remedy: str = ""
    wait_s: float = 0.0


MEANINGS = (
    Meaning(r"Total request size|Pixel grid dimensions|User memory limit", TooLargeError),
    Meaning(r"Computation timed out|memory capacity exceeded", TooLargeError),
    Meaning(r"already started with the given request_id", AlreadyStartedError),
    Meaning(r"Quota exceeded.*per minute", BusyError, wait_s=30.0),
    Meaning(r"Too Many Requests|Too many concurrent|concurrency limit|rateLimitExceeded", BusyError),
    Meaning(
        r"per day|quota.*(used up|exhausted)|EECU.*(exceeded|limit)|exceeded.*compute quota",
        DeniedError,
        "the project's quota is exhausted: wait until it is renewed, or use another --project; "
        "what was fetched is kept, and the same command goes on from there",
    ),
    Meaning(
        r"has not been used in project|is disabled|SERVICE_DISABLED",
        DeniedError,
        "enable the Earth Engine API for project {project} at that address, or use another --project",
    ),
    Meaning(
        r"required permission to use project|serviceusage",
        DeniedError,
        "ask the owner of project {project} for the role Service Usage Consumer "
        "(roles/serviceusage.serviceUsageConsumer), or use another --project",
    ),
    Meaning(
        r"not registered|not signed up",
        DeniedError,
        "register project {project} at https://code.earthengine.google.com/register",
    ),
    Meaning(
        r"(?i)(asset|collection).*(not found|does not (exist|have))|caller does not have access",
        DeniedError,
        "the asset does not exist or this account may not read it (some data sets need a sign-up)",
    ),
    Meaning(r"did not match any bands|has no band|No band named", DeniedError, "choose other --bands"),
    Meaning(
        r"invalid_grant|invalid_scope|Token has been expired|invalid authentication credentials",
        DeniedError,
        "the credentials are expired or revoked, or this computer's clock is wrong: "
        "sign in again with `earthengine authenticate --force`",
    ),
)

BY_STATUS = {
    401: Meaning("", DeniedError, "the credentials have expired: run `earthengine authenticate --force`"),
    403: Meaning("", DeniedError, "this account lacks the right to do that in project {project}"),
    404: Meaning("", DeniedError, "it does not exist, or this account may not see it"),
    408: Meaning("", FlakyError),
    429: Meaning("", BusyError),
}


def refusal(error: Exception, project: str) -> RefusalError:
    """The refusal behind an exception of the Earth Engine client."""
    response = getattr(error, "resp", None) or getattr(error.__context__, "resp", None)
    status = int(response.status) if response is not None else 0
    text = " ".join(str(error).split())
    meaning = meaning_of(error, status, text)
    said = f"Earth Engine says: {text}" if status else f"Earth Engine did not answer: {text}"
    remedy = f": {meaning.remedy.format(project=project)}" if meaning.remedy else ""
    return meaning.refusal(said + remedy, max(meaning.wait_s, retry_after(response)))


def meaning_of(error: Exception, status: int, text: str) -> Meaning:
    """What an answer means, by its text first and its status else."""
    for meaning in MEANINGS:
        if re.search(meaning.pattern, text):
            return meaning
    if status in BY_STATUS:
        return BY_STATUS[status]
    lost = isinstance(error, (ConnectionError, TimeoutError))
    return Meaning("", FlakyError) if lost or status >= 500 else Meaning("", DeniedError)


def retry_after(response: Any) -> float:
    """The seconds a refusal asks to wait, if it says so in seconds."""
    text = str(response.get("retry-after", "")) if response is not None else ""
    return float(text) if text.isdigit() else 0.0
