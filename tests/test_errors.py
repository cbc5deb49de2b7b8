"""What of an address may be shown."""

from __future__ import annotations

import pickle

import pytest

from geoseg.errors import GeosegError, InputError, hide_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/a.tif?X-Amz-Signature=s3cret&b=1: not there", "https://h/a.tif not there"),
        ("https://ann:s3cret@h:80/a.tif", "https://h:80/a.tif"),
        ("ftp://ann:p@s3cret@h/a.tif", "ftp://h/a.tif"),
        ("/vsicurl/https://h/a.tif?sig=s3cret|layer", "/vsicurl/https://h/a.tif|layer"),
        ("/vsicurl?header.Authorization=Bearer%20s3cret&url=https%3A%2F%2Fh", "/vsicurl"),
        ("'https://h/a.tif?sig=s3cret' does not exist", "'https://h/a.tif' does not exist"),
        ("(HTTP://H/a.tif#s3cret)", "(HTTP://H/a.tif)"),
        ("/data/a?b.tif: what? a #1", "/data/a?b.tif: what? a #1"),
        ("write to a@b.org, or see https://h/", "write to a@b.org, or see https://h/"),
    ],
)
def test_queries_and_users_are_cut_and_nothing_else(text: str, shown: str) -> None:
    assert hide_secrets(text) == shown
    assert str(InputError(text)) == shown


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(InputError("a: b")))
    assert (type(error), str(error)) == (InputError, "a: b")
    assert str(GeosegError()) == ""
