"""A script that stands in for vLLM: health, one-token completions, a child of its own, and faults on request.

    python fake_vllm.py PORT FOLDER

Every process, the child in a session of its own included, leaves its id in FOLDER/pids. `POST /crash` ends it with
status 3, `POST /mute` makes /health fail from then on. With FOLDER/broken it complains and ends at once; with
FOLDER/stubborn it ignores SIGTERM.
"""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

folder = Path(sys.argv[2])
mute = False


def note(pid: int) -> None:
    with (folder / "pids").open("a") as file:
        file.write(f"{pid}\n")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(503 if mute else 200, b"{}")

    def do_POST(self) -> None:
        global mute
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/crash":
            print("falling over as asked", flush=True)
            os._exit(3)
        if self.path == "/mute":
            mute = True
        self.answer(200, b'{"choices": [{"text": "1"}]}')

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


if __name__ == "__main__":
    note(os.getpid())
    if (folder / "broken").exists():
        sys.exit("RuntimeError: no such weights")
    if (folder / "stubborn").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True).pid)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
