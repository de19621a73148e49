"""A platform over several hosts: PostgreSQL, S3 and the simulator beside Dagster's daemon, and hosts for the runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import yaml
from dagster import AssetKey, DagsterInstance, DagsterRun
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.tags import PARENT_RUN_ID_TAG

from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.run_launcher import worker_of
from ut_clips_dagster.simulator import DEMO_TEST_ID, SimulatorConfig, SimulatorServer
from ut_clips_dagster_tests.gcs_emulator.requests import RequestRecord
from ut_clips_dagster_tests.s3_emulator import S3Emulator

from .engines import Engine
from .lan import ROOT, Host, Lan, inside, lan
from .postgres import Postgres, postgres

OTHER_TEST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa7"
"""Of no configured test: the sensors do not find its sessions, so what is done is the backfill's."""
CONFIGURATION = ROOT / "deploy" / "ray" / "dagster.yaml"
LOOKS_EVERY_S = 5
"""Run monitoring's interval here; 30 in what we ship."""
ASSETS = ("clip_list", "clip_urls", "clip_files", "clip_metadata")


@dataclass(frozen=True)
class Bench:
    """All parts of it."""

    engine: Engine
    control: Host
    workers: Mapping[str, Host]
    simulator: SimulatorServer
    s3: S3Emulator
    env: Mapping[str, str]
    instance: DagsterInstance
    logs: Path

    def start_daemon(self) -> None:
        """Dagster's daemon, with our code location."""
        words = ("-m", "dagster._daemon", "run", "-m", "ut_clips_dagster.definitions")
        with (self.logs / "daemon.log").open("ab") as log:
            self.control.popen(str(self.engine.python), *words, env=self.env, log=log)

    def start_worker(self, name: str) -> None:
        """Have a host that has booted start runs."""
        _configure(self.workers[name], self.workers, self.engine)
        self.engine.start_worker(self.workers[name], self.control, self.env, self.logs)

    def backfill(self, keys: list[str]) -> str:
        """Ask for all assets of these sessions, as the UI does; its ID."""
        from ut_clips_dagster.definitions import defs

        graph: AssetGraph = defs.resolve_asset_graph()
        self.instance.add_dynamic_partitions(SESSIONS, keys)
        asked = PartitionBackfill.from_asset_partitions(
            backfill_id=uuid.uuid4().hex[:8],
            asset_graph=graph,
            partition_names=keys,
            asset_selection=[AssetKey(name) for name in ASSETS],
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=self.instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        self.instance.add_backfill(asked)
        return asked.backfill_id

    def host_of(self, run: DagsterRun) -> Host | None:
        """Where a run is, once it has said so; a retry has its parent's word among its tags, until it says its own."""
        parent = self.instance.get_run_by_id(run.tags.get(PARENT_RUN_ID_TAG, ""))
        worker = worker_of(run)
        if parent and worker == worker_of(parent):
            return None
        return self.workers.get(worker.host) if worker and worker.pid else None

    def writes(self, host: Host, since: float, until: float = float("inf")) -> list[RequestRecord]:
        """What a host wrote into the archive: requests that began in this time, and were answered with success."""
        return [
            record
            for record in list(self.s3.requests)
            if record.client == host.address
            and record.method in ("PUT", "POST", "DELETE")
            and "/archive/" in record.path
            and since <= record.began < until
            and record.status is not None
            and record.status < 300
        ]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of `ut-clips`, beside the daemon."""
        program = str(Path(sys.executable).parent / "ut-clips")
        process = self.control.popen(program, *words, env=self.env, log=subprocess.PIPE)
        output, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, output.decode(), "")


def _configure(host: Host, workers: Mapping[str, Host], engine: Engine) -> None:
    """`dagster.yaml` as we ship it, where every host has it."""
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    configuration["run_monitoring"]["poll_interval_seconds"] = LOOKS_EVERY_S
    if launcher := engine.launcher(workers):
        configuration["run_launcher"] = launcher
    host.folder.joinpath("dagster").mkdir(exist_ok=True)
    host.folder.joinpath("dagster", "dagster.yaml").write_text(yaml.safe_dump(configuration))


def _settings(network: Lan, simulator: SimulatorServer, s3: S3Emulator, database: Postgres) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("UT_CLIPS", "USERTESTING", "AWS_", "DAGSTER"))}
    return {
        **{n: v for n, v in kept.items() if not n.lower().endswith("_proxy")},
        **s3.environment,
        **database.environment,
        **simulator.environment,
        "USERTESTING_TEST_IDS": DEMO_TEST_ID,
        "UT_CLIPS_ARCHIVE": f"s3://{s3.create_bucket('clips')}/archive",
        "UT_CLIPS_TRANSCRIPTS": "off",
        "UT_CLIPS_POLL_INTERVAL_S": str(3.0 / simulator.simulator.config.time_scale),
        "DAGSTER_LOGS_BUCKET": s3.create_bucket("logs"),
        "DAGSTER_HOME": str(network.disk / "dagster"),
        "HOME": str(network.disk),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # of a run's command
    }


@contextmanager
def bench(engine: Engine, names: tuple[str, ...], logs: Path, time_scale: float) -> Iterator[Bench]:
    """All of it, started but for the daemon; this process is in the network of the host `control`."""
    config = SimulatorConfig(
        host="127.77.0.1", test_ids=(DEMO_TEST_ID, OTHER_TEST_ID), sessions=0, time_scale=time_scale
    )
    with lan() as network:
        control = network.host("control")
        workers = {name: network.host(name) for name in names}
        with (
            inside(control),
            postgres(control.address) as database,
            SimulatorServer(config) as simulator,
            S3Emulator("moto", control.address) as s3,
        ):
            env = {**_settings(network, simulator, s3, database), **engine.environment(control)}
            _configure(control, workers, engine)
            home = {**env, "DAGSTER_HOME": str(control.folder / "dagster")}
            with patch.dict(os.environ, home), DagsterInstance.from_config(home["DAGSTER_HOME"]) as instance:
                whole = Bench(engine, control, workers, simulator, s3, env, instance, logs)
                engine.start_head(control, env, logs)
                for name in names:
                    whole.start_worker(name)
                yield whole
