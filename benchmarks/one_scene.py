"""A language model for faults and outages: an OpenAI-compatible server that knows one scene, and that it is ready.

python -m benchmarks.one_scene PORT [SECONDS]     it thinks so long about each answer
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

SCENE: Final = {
    "thoughts": "A car drives, a tree stands.",
    "instances": [
        {
            "words": "a red car drives to the right",
            "why": "a vehicle keeps its shape",
            "node": {"id": "car", "name": "red car", "description": "a red car driving", "label": "rigid"},
        },
        {
            "words": "a tree",
            "why": "it stands",
            "node": {"id": "tree", "name": "tree", "description": "a tree", "label": "motionless"},
        },
    ],
    "relations": [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "past"}],
    "background": "a road",
    "depth_order": ["car", "tree"],
}
MOVEMENTS: Final = {
    "thoughts": "The car crosses in front of the tree.",
    "movements": [
        {
            "why": "it drives to the right",
            "cues": {"instance": "car", "phases": [{"label": "rigid", "direction": "right"}]},
        },
        {"why": "it stands", "cues": {"instance": "tree", "place": "right", "phases": [{"label": "motionless"}]}},
    ],
}
READY: Final = {"state": "ready"}


class OneScene(BaseHTTPRequestHandler):
    seconds = 0.0

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(self.seconds)
        content = {"ready": READY, "movements": MOVEMENTS}.get(asked["response_format"]["json_schema"]["name"], SCENE)
        message = {"role": "assistant", "content": json.dumps(content)}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        self._answer({"object": "chat.completion", "choices": choices})

    def _answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(port: str, seconds: str = "0") -> None:
    OneScene.seconds = float(seconds)
    with ThreadingHTTPServer(("127.0.0.1", int(port)), OneScene) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
