"""What the doctor finds on this machine, and on machines that lack something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyogrio
import pytest
from click.testing import CliRunner

from geoseg.cli.main import geoseg
from geoseg.workflows import doctor
from geoseg.workflows.doctor import Diagnosis, MachineFinding, diagnose


def find(findings: Iterator[MachineFinding]) -> MachineFinding:
    (finding,) = findings
    return finding


@pytest.fixture(autouse=True)
def not_signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EARTHENGINE_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", *doctor.FOREIGN_DATA):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def test_a_machine_that_passes_these_tests_is_well() -> None:
    diagnosis = diagnose(trial_seconds=0.01)
    assert diagnosis.problems == 0, str(diagnosis)
    topics = [finding.topic for finding in diagnosis.findings]
    assert {"geoseg", "Python", "GDAL", "Projections", "Engine", "Speed", "Memory"} <= set(topics)
    speed = next(finding for finding in diagnosis.findings if finding.topic == "Speed")
    assert float(speed.text.split()[0]) > 0.01


def test_the_command_tells_programs_and_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_model", lambda seconds: iter([MachineFinding("Engine", "none")]))
    told = CliRunner().invoke(geoseg, ["doctor", "--json"])
    assert told.exit_code == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["problems"] == 0
    assert {"topic", "text", "level", "remedy"} == set(found["findings"][0])
    assert found["findings"][-1]["topic"] == "Earth Engine"
    lines = CliRunner().invoke(geoseg, ["doctor"]).stdout
    assert (
        "? Earth Engine not signed in: only `geoseg export` needs it; to sign in: earthengine authenticate"
        in lines
    )


def test_what_keeps_it_from_working_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "check_model", lambda seconds: iter([MachineFinding("Engine", "no", "problem", "do")])
    )
    told = CliRunner().invoke(geoseg, ["doctor"])
    assert told.exit_code == 1
    assert "! Engine       no: do" in told.stdout


def test_a_check_that_breaks_off_is_told_and_the_others_go_on() -> None:
    def break_off() -> Iterator[MachineFinding]:
        yield MachineFinding("Before", "it broke")
        raise OSError("no such luck")

    findings = [*doctor.run_check(break_off)]
    assert [finding.topic for finding in findings] == ["Before", "Error"]
    assert "OSError: no such luck" in str(findings[1])


def test_missing_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyogrio, "list_drivers", lambda write: {"GeoJSON": "rw", "FlatGeobuf": "rw"})
    finding = find(doctor.check_formats())
    assert finding.level == "problem"
    assert "without GeoPackage, shapefiles" in finding.text


def test_projections_of_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJ_LIB", "elsewhere")
    finding = find(doctor.check_projections())
    assert finding.level == "hint"
    assert "unset PROJ_LIB" in finding.remedy


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_memory_bytes", lambda: 2**28)
    assert find(doctor.check_memory()).level == "problem"
    monkeypatch.setattr(doctor, "find_memory_bytes", lambda: None)
    assert find(doctor.check_memory()).level == "ok"


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "file" / "cache"))
    finding = find(doctor.check_cache())
    assert finding.level == "hint"
    assert "GEOSEG_CACHE" in finding.remedy


def test_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "find_model", lambda name: (_ for _ in ()).throw(doctor.GeosegError("none runs"))
    )
    finding = find(doctor.check_model(0))
    assert (finding.level, finding.text) == ("problem", "none runs")


def test_the_verdict_counts() -> None:
    findings = (
        MachineFinding("a", "b"),
        MachineFinding("c", "d", "hint", "e"),
        MachineFinding("f", "g", "problem"),
    )
    lines = str(Diagnosis(findings)).splitlines()
    assert lines == [
        "  a            b", "? c            d: e", "! f            g", "", "Problems (!): 1, hints (?): 1"
    ]  # fmt: skip
