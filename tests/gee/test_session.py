"""Who is asking: every way to sign in, in order, and what is said when there is none."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gee.session import SCOPES, Access, find_credentials, sign_in
from geoseg.errors import InputError

SMALL = ("--bbox", "15.00,48.00,15.01,48.01", "--start", "2023-05-01", "--end", "2023-09-30", "--bands", "B4")
PERSON = {
    "client_id": "1-a.apps.googleusercontent.com",
    "client_secret": "s3cret",
    "refresh_token": "r3fresh",
}


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def key_file(tmp_path, earth, private_key):
    path = tmp_path / "key.json"
    content = {
        "type": "service_account",
        "client_email": "robot@key-project.iam.gserviceaccount.com",
        "private_key": private_key,
        "private_key_id": "1",
        "project_id": "key-project",
        "token_uri": f"{earth.url}/token",
    }
    path.write_text(json.dumps(content))
    return path


def asked_scope(earth):
    """The scope in the signed request for a token."""
    body = earth.seen("/token")[0].body.decode()
    claims = body.split("assertion=")[1].split("&")[0].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=="))["scope"]


def test_a_service_account_signs_each_request(export, earth, key_file):
    earth.tokens = set()
    export.done(*SMALL, "--credentials", key_file)
    assert asked_scope(earth) == "https://www.googleapis.com/auth/earthengine"
    assert all(request.headers["authorization"] == "Bearer tok-1" for request in earth.pixel_requests)
    assert all("/projects/key-project/" in request.path for request in earth.pixel_requests)


def test_the_bucket_s_scope_is_asked_for_only_with_a_bucket(export, earth, key_file, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", earth.url)
    export.done(*SMALL, "--credentials", key_file, "--via", "gcs", "--to", "bucket")
    assert asked_scope(earth).split() == list(SCOPES["gcs"])


def test_a_project_given_is_the_one_that_pays(export, earth, key_file, monkeypatch):
    monkeypatch.setenv("EE_PROJECT_ID", "from-environment")
    export.done(*SMALL, "--credentials", key_file)
    export.done(*SMALL, "--credentials", key_file, "--project", "given-one", "--overwrite")
    projects = [request.path.split("/")[3] for request in earth.pixel_requests]
    assert projects == ["from-environment", "given-one"]
    assert earth.pixel_requests[-1].headers["x-goog-user-project"] == "given-one"


def test_a_token_that_expires_midway_is_renewed(export, earth, key_file):
    export.tile = 64
    earth.tokens = set()
    earth.fault(
        "computePixels",
        status=401,
        message="Request had invalid authentication credentials.",
        times=1,
        skip=2,
    )
    export.done(*SMALL, "--credentials", key_file, "--workers", "1")
    assert len(earth.seen("/token")) == 2


def test_credentials_that_are_revoked(export, earth, key_file):
    earth.refuses_tokens = True
    line = export.refused(*SMALL, "--credentials", key_file)
    assert "expired or revoked" in line
    assert "earthengine authenticate --force" in line


def test_no_secret_is_said_or_written(export, earth, key_file, private_key):
    earth.tokens = set()
    result = export(*SMALL, "--credentials", key_file)
    assert result.exit_code == 0
    written = result.output + "".join(
        path.read_bytes().decode("latin-1") for path in export.out.rglob("*") if path.is_file()
    )
    for secret in ("tok-1", "Bearer", private_key.splitlines()[1], "robot@"):
        assert secret not in written


def test_a_server_on_this_computer_needs_no_sign_in(export, earth):
    export.done(*SMALL)
    assert all("authorization" not in request.headers for request in earth.requests)


def test_the_endpoint_by_environment(export, earth, monkeypatch):
    monkeypatch.setenv("GEOSEG_EE_URL", earth.url)
    export.done(*SMALL, "--endpoint", "")
    assert earth.pixel_requests


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("", "https://earthengine.googleapis.com"),
        ("standard", "https://earthengine.googleapis.com"),
        ("high-volume", "https://earthengine-highvolume.googleapis.com"),
        ("https://example.org/", "https://example.org"),
    ],
)
def test_endpoints_by_name(endpoint, url):
    assert Access(endpoint).url == url


def test_an_endpoint_that_is_none():
    with pytest.raises(InputError, match="neither a URL nor one of standard, high-volume"):
        _ = Access("fast").url


def test_credentials_never_travel_in_the_clear():
    with pytest.raises(InputError, match="use https"):
        Access("http://example.org").identity()


def test_nobody_signed_in_is_told_the_three_ways(export):
    result = export(*SMALL, "--endpoint", "standard")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 5
    for way in (
        "earthengine authenticate",
        "--credentials KEY.json",
        "gcloud auth application-default login",
    ):
        assert way in result.stderr
    assert "looked at --credentials, EARTHENGINE_TOKEN" in result.stderr


def test_no_project(monkeypatch):
    monkeypatch.setenv("EARTHENGINE_TOKEN", json.dumps(PERSON))
    with pytest.raises(InputError, match="give --project or set EE_PROJECT_ID"):
        sign_in(None, "", "direct")


def test_the_order_in_which_credentials_are_looked_for(monkeypatch, key_file, tmp_path):
    stored = tmp_path / "home" / ".config" / "earthengine" / "credentials"
    stored.parent.mkdir(parents=True)
    stored.write_text(json.dumps({"refresh_token": "stored", "project": "stored-project"}))
    assert find_credentials(None, SCOPES["direct"]).project == "stored-project"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    assert find_credentials(None, SCOPES["direct"]).origin == "GOOGLE_APPLICATION_CREDENTIALS"
    monkeypatch.setenv("EARTHENGINE_TOKEN", json.dumps({**PERSON, "project": "token-project"}))
    assert find_credentials(None, SCOPES["direct"]).project == "token-project"
    assert find_credentials(key_file, SCOPES["direct"]).project == "key-project"


def test_a_key_by_environment_is_asked_for_with_a_scope(monkeypatch, key_file):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    found = find_credentials(None, SCOPES["direct"])
    assert list(found.credentials.scopes) == list(SCOPES["direct"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no json", "it is not JSON"),
        ('{"type": "service_account"}', "damaged or incomplete (service_account)"),
        ('{"refresh_token": "r"}', "damaged or incomplete (authorized_user)"),
        ('{"type": "external_account"}', "of the kind external_account"),
        ("[1]", "of the kind no object"),
    ],
)
def test_credentials_that_cannot_be_used(export, tmp_path, content, reason):
    path = tmp_path / "bad.json"
    path.write_text(content)
    line = export.refused(*SMALL, "--credentials", path)
    assert reason in line
    assert str(path) in line


def test_credentials_that_are_not_there(export, tmp_path):
    assert "No such file" in export.refused(*SMALL, "--credentials", tmp_path / "none.json")


def test_a_damaged_token_variable_is_not_repeated(monkeypatch):
    monkeypatch.setenv("EARTHENGINE_TOKEN", "s3cret but no json")
    with pytest.raises(InputError) as error:
        sign_in(None, "", "direct")
    assert "s3cret" not in str(error.value)
