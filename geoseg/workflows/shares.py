"""Shares of one scene, for any batch system: each puts its strips into the folder of parts beside the output."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.cluster.shards import Shard
from geoseg.cluster.workers import open_workers
from geoseg.inference.estimate import refuse_too_large_job
from geoseg.inference.manifest import note_job, plan_like_parts
from geoseg.inference.pipeline import report_unanswered
from geoseg.io.atomic import refuse_delivered
from geoseg.raster.plan import Strip
from geoseg.workflows.infer import (
    check_infer_outputs,
    describe_infer,
    find_loaded,
    plan_work,
)
from geoseg.workflows.options import InferOptions
from geoseg.workflows.results import ShareResult, note_share
from geoseg.workflows.strips import SceneWork, make_part_listener, predict_work

if TYPE_CHECKING:
    from geoseg.cluster.dask import Workers


def infer_share(scene: Sequence[str], out: Path | None, options: InferOptions) -> ShareResult:
    """Do one share of a scene's strips; any process may do any other at the same time, in any order."""
    start = time.monotonic()
    shard = Shard.parse(str(options.shard))
    command = describe_infer(scene, out, options)
    outputs = check_infer_outputs(scene, out, options, command)
    with open_workers(options) as workers:
        job = plan_like_parts(scene, outputs[0], options, find_loaded(options, workers, None))
        refuse_too_large_job(job, (workers and options.workers) or 1)
        work = plan_work(job, outputs[0], out, options)
        strips = shard.take_run(job.plan.strips)
        with work.journal.shared(shard.name, command):
            check_infer_outputs(scene, out, options, command)  # another run may have finished meanwhile
            refuse_delivered(outputs, command)
            note_job(job, work.journal)
            do_share(work, strips, workers)
            there = [work.journal.files(strip).exist for strip in job.plan.strips]
            return note_share(shard, work.journal.folder, len(strips), there, time.monotonic() - start)


def do_share(work: SceneWork, strips: Sequence[Strip], workers: Workers | None) -> None:
    """Predict and trace some strips, in this process or by workers."""
    on_strip = None if workers else make_part_listener(work.parts, work.job)
    counts = predict_work(work, strips, workers, on_strip, alone=False)
    report_unanswered(work.job, work.journal, strips, counts, forget=partial(work.drop, strips))
