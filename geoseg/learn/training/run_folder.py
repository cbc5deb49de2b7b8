"""The folder of a run: what may be there before the first step, and what is put there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from geoseg.errors import InputError
from geoseg.learn.settings import TABLE, Settings
from geoseg.learn.training.checkpoint import BAD_BATCH, BEST, BOARD, LAST, METRICS
from geoseg.model.folder import CARD
from geoseg.writable import check_folder


def check_out(out: Path, settings: Settings, overwrite: bool) -> None:
    """Refuse early a folder in which the run could not begin or end."""
    check_folder(out)
    if settings.start_from and Path(settings.start_from).resolve() == out.resolve():
        raise InputError(
            f"--from {settings.start_from}: is the folder of the run itself; choose another --out, so that both stay"
        )
    if (out / CARD).exists() and not overwrite:
        raise InputError(
            f"--out {out}: holds a finished model; choose another folder, or replace it with --overwrite"
        )


def clear(out: Path) -> None:
    """Make a run start over: of an earlier one, only what the new one will replace stays for now."""
    for name in (CARD, LAST, BEST, METRICS, BAD_BATCH):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / BOARD, ignore_errors=True)


def keep_settings(out: Path, settings: Settings) -> None:
    """Write the settings as they are used."""
    unfinished = out / f".{TABLE}.{os.getpid()}"
    unfinished.write_text(settings.to_toml(), encoding="utf-8")
    unfinished.replace(out / TABLE)
