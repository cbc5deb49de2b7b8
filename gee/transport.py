"""How requests travel: one pool of connections for all threads, with time limits."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httplib2
import requests
from requests.adapters import HTTPAdapter

CONNECT_S = 20.0
ANSWER_S = 330.0
QUOTA_HEADER = "x-earth-engine-quota-status"
RESTRICTED = "parallelism_restricted=true"


class Transport:
    """Carries the Earth Engine client's requests, in httplib2's manner, and hears how the quota stands."""

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
        return self.heard(answer), answer.content

    def heard(self, answer: requests.Response) -> httplib2.Response:
        """The answer's headers; the note on the quota is taken out, for the client would only warn of it."""
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
