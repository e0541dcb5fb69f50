"""`python -m deploy.local` with parts that start in no time, to be run as a program.

The first argument says how the render worker behaves: "ready", "stuck" (never ready) or "dies" (once all are ready).
"""

import sys
import time
from pathlib import Path

import deploy.stack
from deploy.local import app
from deploy.parts import Part
from deploy.servers import LOOPBACK, answers
from deploy.stack import Addresses

API = f"""
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

HTTPServer(("{LOOPBACK}", int(sys.argv[1])), Handler).serve_forever()
"""

SLEEP = "import time; time.sleep(600)"
DEATH = "import time; time.sleep(1.5); raise SystemExit('out of memory')"


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-c", *arguments]


def main(behaviour: str) -> None:
    def server(name: str) -> Part:
        return Part(name, python(SLEEP), lambda: True)

    def services(addresses: Addresses, _temporary: Path) -> list[Part]:
        port = addresses.api.rpartition(":")[2]
        return [
            Part("generator API", python(API, port), lambda: answers(addresses.api)),
            Part("render worker", python(DEATH if behaviour == "dies" else SLEEP), lambda: behaviour != "stuck"),
        ]

    def valkey(folder: Path, _port: int) -> Part:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").write_text(f"{time.time()}\n")
        return server("Valkey")

    deploy.stack.valkey = valkey
    deploy.stack.seaweedfs = lambda _folder, _port: server("SeaweedFS")
    deploy.stack._services = services
    app(sys.argv[2:])


if __name__ == "__main__":
    main(sys.argv[1])
