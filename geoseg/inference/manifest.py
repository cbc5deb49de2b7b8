"""What is noted in a folder of parts about how they are made, so that all processes of a job do the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from geoseg.errors import InputError
from geoseg.inference.job import Job, plan_job
from geoseg.inference.loaded import LoadedModel, load_model
from geoseg.inference.options import PredictOptions
from geoseg.inference.resume import Journal
from geoseg.models.backends.base import RuntimeKind

MANIFEST = "manifest"
LEFT_TO_CHOOSE = {"device": "auto", "engine": "auto", "precision": "auto"}


def plan_like_parts(
    scene: Sequence[str], out: Path, options: PredictOptions, loaded: LoadedModel | None = None
) -> Job:
    """A job as its shares were planned, where there are some: by the same engine, if nobody asks for another."""
    job = plan_job(scene, options, loaded)
    journal = Journal.beside(out, job.key)
    asked = {name: getattr(options, name) for name in LEFT_TO_CHOOSE}
    if journal.folder.exists() or asked != LEFT_TO_CHOOSE or loaded:
        return job
    kinds = [kind for folder in journal.find_leftovers(out) if (kind := read_kind(folder, job))]
    if not kinds:
        return job
    adopted = replace(job, loaded=LoadedModel(job.model, (kinds[0],), f"as its shares: {kinds[0]}"))
    return adopted if is_complete(adopted, out) else replace(job, loaded=load_kind(job, options, kinds[0]))


def read_kind(folder: Path, job: Job) -> RuntimeKind | None:
    """How the shares in a folder were made, where they answer the same question."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        manifest = json.loads((folder / f"{MANIFEST}.json").read_text(encoding="utf-8"))
        if manifest["question"] == job.question:
            return RuntimeKind(**manifest["kind"])
    return None


def is_complete(job: Job, out: Path) -> bool:
    journal = Journal.beside(out, job.key)
    return all(journal.files(strip).exist for strip in job.plan.strips)


def load_kind(job: Job, options: PredictOptions, kind: RuntimeKind) -> LoadedModel:
    """The model as the other shares run it, or one line on why this machine cannot."""
    try:
        return load_model(job.model, replace(options, **asdict(kind)))
    except InputError as error:
        raise InputError(
            f"{job.scene.name}: its other shares are made by {kind}, which this machine cannot do ({error}); run the missing "
            f"shares on such machines, or give `device`, `engine` and `precision` to begin anew"
        ) from error


def note_job(job: Job, journal: Journal) -> None:
    """Say in the folder of parts what they are parts of."""
    kind = replace(job.kinds[0], device=job.kinds[0].device.partition(":")[0])
    strips = len(job.plan.strips)
    facts = {"question": job.question, "kind": asdict(kind), "strips": strips, "parameters": job.parameters}
    journal.note(MANIFEST, facts)
