"""`ut-clips gallery`, as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

UT_CLIPS = Path(sys.executable).parent / "ut-clips"


@pytest.mark.parametrize(("ended_by", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_prints_an_address_that_opens_it_and_ends_when_told(
    tmp_path: Path, ended_by: signal.Signals, exit_code: int
) -> None:
    environment = {**os.environ, "UT_CLIPS_ARCHIVE": str(tmp_path / "archive"), "XDG_CACHE_HOME": str(tmp_path)}
    token_file = tmp_path / "token"
    command = [str(UT_CLIPS), "gallery", "--port", "0", "--token-file", str(token_file)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as gallery:
        assert gallery.stdout is not None
        assert gallery.stdout.readline() == f"Gallery of {tmp_path}/archive: open\n"
        address = gallery.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        assert address.endswith(f"/?token={token_file.read_text().strip()}")
        with httpx.Client(follow_redirects=True) as visitor:
            assert "<title>Clips</title>" in visitor.get(address).text
        gallery.send_signal(ended_by)
        _, complaints = gallery.communicate(timeout=60)

    assert gallery.returncode == exit_code, complaints
    assert "Traceback" not in complaints
    assert list((tmp_path / "ut-clips" / "gallery").iterdir())


def test_what_a_person_can_set_right_is_one_message(tmp_path: Path) -> None:
    environment = {**os.environ, "UT_CLIPS_ARCHIVE": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = [str(UT_CLIPS), "gallery", "--port", "0", "--host", "192.0.2.1"]  # an address of no machine
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("The gallery cannot listen on 192.0.2.1, port 0: ")
    assert refused.stderr.count("\n") == 1
