"""A server killed in the middle of its work, on a real socket: nothing it accepted is lost, and no process stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from ports import free_port
from until import until

HERE = Path(__file__).parent
SERVE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
if __name__ == "__main__":
    import uvicorn
    from small_inspectors import load_knowledge
    from reason_iad.server.app import create_app
    from reason_iad.server.settings import Settings
    settings = Settings(data=Path(sys.argv[1]), port=int(sys.argv[2]), factory="small_inspectors:load_scripted")
    uvicorn.run(create_app(settings, load_knowledge), port=settings.port, log_level="error")
"""


def started(tmp_path: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    script = tmp_path / "serve_scripted.py"
    script.write_text(SERVE)
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "data"), str(port), str(HERE)])
    return process, f"http://127.0.0.1:{port}"


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_server_loses_nothing_it_accepted_and_leaves_no_process(tmp_path, picture):
    process, url = started(tmp_path)
    ids = {}
    try:
        until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        for name in ("stuck_1.png", "waiting_2.png", "waiting_3.png"):
            sent = httpx.post(f"{url}/v1/inspections?wait=0", files={"image": (name, picture(), "image/png")})
            ids[name] = sent.json()["id"]
        until(lambda: httpx.get(f"{url}/v1/inspections/{ids['stuck_1.png']}").json()["state"] == "running")
        threads = Path(f"/proc/{process.pid}/task").glob("*/children")
        children = [child for thread in threads for child in thread.read_text().split()]
        assert children
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda: not any(alive(int(child)) for child in children), 10)
    finally:
        process.kill()
        process.wait()
    process, url = started(tmp_path)
    try:

        def states() -> dict[str, str]:
            return {name: httpx.get(f"{url}/v1/inspections/{i}").json()["state"] for name, i in ids.items()}

        until(lambda: set(states().values()) <= {"done", "failed"})
        assert states() == {"stuck_1.png": "failed", "waiting_2.png": "done", "waiting_3.png": "done"}
        assert "stopped during this" in httpx.get(f"{url}/v1/inspections/{ids['stuck_1.png']}").json()["error"]
    finally:
        process.terminate()
        process.wait(30)
