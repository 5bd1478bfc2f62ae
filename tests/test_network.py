"""Test that mechtag, DVC, MLflow and Ray contact no address outside this machine unless asked."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from mechtag.core.codebook import Codebook
from tests.support.network import Watch
from tests.support.paths import ROOT
from tests.support.toy import fruit_project

BIN = Path(sys.executable).parent


def run(watch: Watch, folder: Path, *words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=watch.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documented(page: str, tool: str) -> list[str]:
    """Return the first command of a tool on a documentation page, as a list of words."""
    found = re.search(rf"^(?:\$ )?({tool} .*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return shlex.split(found[1])


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def browse(watch: Watch, folder: Path) -> dict[str, object]:
    """Open MLflow's pages as a browser does, and return what MLflow's server says about telemetry."""
    words, port = documented("docs/tracking.md", "mlflow ui"), free_port()
    server = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [BIN / words[0], *words[1:], "--port", str(port)],
        cwd=folder,
        env=watch.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(server, timeout=60).read()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.2)
        with urllib.request.urlopen(f"{server}/ajax-api/3.0/mlflow/ui-telemetry", timeout=60) as answer:
            return dict(json.loads(answer.read()))
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.getaddrinfo('example.org', 80)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))",
        "import subprocess, sys; command = \"import socket; socket.gethostbyname('example.org')\";"
        "subprocess.run([sys.executable, '-c', command])",
    ],
    ids=["lookup", "connection", "child"],
)
def test_the_watch_sees_what_is_contacted(tmp_path: Path, code: str) -> None:
    watch = Watch(tmp_path)
    subprocess.run([sys.executable, "-c", code], env=watch.environment, capture_output=True, check=False)
    assert [line.split()[1] for line in watch.contacted] in (["example.org"], ["192.0.2.1"])


@pytest.mark.slow
def test_mlflow_in_the_browser_contacts_nobody(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    answer = browse(watch, tmp_path)
    assert answer["disable_ui_telemetry"] is True
    assert watch.contacted == []


def test_dvc_contacts_nobody(tmp_path: Path) -> None:
    watch, project = Watch(tmp_path), tmp_path / "project"
    (project / ".dvc").mkdir(parents=True)
    (project / ".dvc/config").write_bytes((ROOT / ".dvc/config").read_bytes())
    run(watch, project, "git", "init", "--quiet")
    for words in (["version"], ["status"], ["params", "diff"]):
        run(watch, project, BIN / "dvc", *words)
    # DVC would send reports and look for updates in child processes, which are recorded too.
    assert watch.contacted == []


_RAY = """
import ray
from ray._common.usage.usage_lib import usage_stats_enabled

def init(**options):
    print(usage_stats_enabled())
    raise RuntimeError

ray.init = init
{extra}
from mechtag.core.errors import MechtagError
from mechtag.pipeline.tagging.ray_engine import _connected

try:
    with _connected(1):
        pass
except MechtagError:
    pass
"""


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        pytest.param("", "False", id="default"),
        pytest.param(
            "import os; os.environ['RAY_USAGE_STATS_ENABLED'] = '1'",
            "True",
            id="switched on by the user",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_usage_statistics_of_ray_are_off_when_it_starts(tmp_path: Path, extra: str, expected: str) -> None:
    """The statistics are off even if Ray was imported before mechtag, unless the user switched them on."""
    done = run(Watch(tmp_path), tmp_path, sys.executable, "-c", _RAY.format(extra=extra))
    assert done.split() == [expected]


@pytest.mark.slow
def test_ray_contacts_nobody(tmp_path: Path) -> None:
    """Ray's child processes are recorded too, and would send their first report after one second."""
    watch = Watch(tmp_path)
    watch.environment["RAY_USAGE_STATS_REPORT_INTERVAL_S"] = "1"
    code = (
        "import time; from mechtag.pipeline.tagging.ray_engine import _connected\n"
        "with _connected(1) as ray:\n    print(ray.util.get_node_ip_address())\n    time.sleep(8)"
    )
    own = run(watch, tmp_path, sys.executable, "-c", code).strip()
    assert [line for line in watch.contacted if line.split()[1] != own] == []


@pytest.mark.slow
def test_mechtag_contacts_nobody(tmp_path: Path, fruit: Codebook) -> None:
    watch, project = Watch(tmp_path), tmp_path / "project"
    project.mkdir()
    content = fruit_project(project, fruit).model_dump(mode="json", exclude_defaults=True)
    content["evaluate"] = {"bootstrap": 100, "permutations": 100, "second_coder": ""}
    (project / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    rows = [
        {"key": f"g{number}", "title": title, "abstract": "the apple and the pear of the garden"}
        for number, title in enumerate(("Prices of grain in spring", "Mills along the river"))
    ]
    (project / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (project / "gold.csv").write_text("key,apple,pear,plum\ng0,1,0,1\ng1,0,1,0\n", encoding="utf-8")
    run(watch, project, sys.executable, "-c", "import mechtag; mechtag.Tagger, mechtag.read")
    mechtag = (sys.executable, "-m", "mechtag")
    run(watch, project, *mechtag, "train")
    run(watch, project, *mechtag, "tag", "gold.jsonl", "-o", "tagged", "--score-all")
    tags = "tagged/predictions.parquet"
    run(watch, project, *mechtag, "evaluate", tags, "gold.csv", "-o", "metrics.json", "--allow-training-papers")
    assert watch.contacted == []
