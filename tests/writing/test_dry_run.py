"""A dry run against a real one."""

import asyncio
from pathlib import Path

import pytest
from misbehaving_server import serving
from writer_runs import INSIGHT, REQUESTS, ROWS, run

from haymaker.realism.written import Written
from haymaker.writing.cache import Cache
from haymaker.writing.config import WriterConfig
from haymaker.writing.dry_run import DryRun, Estimate
from haymaker.writing.writer import Writer

pytestmark = pytest.mark.usefixtures("quick")


def test_a_dry_run_counts_the_requests_of_a_run_and_sends_none(tmp_path: Path) -> None:
    config = WriterConfig(model="m", dollars_per_million_output_tokens=10.0)

    def dry(cache: Cache | None) -> Estimate:
        dry_run = DryRun(config, cache)
        writer = Writer(config, dry_run, rows)
        assert all(isinstance(asyncio.run(writer.write(asked)), Written) for asked in rows)
        return dry_run.estimate()

    rows, requests = [*ROWS, INSIGHT], REQUESTS + 3 * 2  # three texts, each read again

    estimate = dry(None)
    assert (estimate.requests, estimate.cached) == (requests, 0)
    assert estimate.input_tokens > 10 * 100  # every passage is shown again in the question's and the reading's prompt
    assert 0 < estimate.dollars < estimate.longest_dollars == pytest.approx(requests * 512 * 10 / 1e6)
    with serving() as server:
        run(server.url, tmp_path / "cache.sqlite", rows=rows)
        assert server.asked.total() == requests
    with Cache(tmp_path / "cache.sqlite", "read-only") as cache:
        assert dry(cache).requests == 0
