"""`geoseg evaluate`, run by several tests."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from geoseg.cli.evaluate import command


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["-q", *map(str, arguments)])


def summary(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))
