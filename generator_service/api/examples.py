"""Requests that the documentation shows; a test sends each."""

from typing import Any, Final

_FRAMES: Final = 9

_CAR: Final = [[round(0.05 + 0.07 * frame, 2), 0.5, round(0.35 + 0.07 * frame, 2), 0.8] for frame in range(_FRAMES)]
_TREE: Final = [[0.7, 0.1, 0.95, 0.8]] * _FRAMES

_PLAN: Final[dict[str, Any]] = {
    "prompt": "a red car drives to the right while a tree stands still",
    "graph": {
        "instances": [
            {
                "id": "car",
                "name": "red car",
                "description": "a red car",
                "attributes": ["drives to the right"],
                "label": "rigid",
            },
            {"id": "tree", "name": "tree", "description": "a tree", "label": "motionless"},
        ],
        "relations": [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "drives toward"}],
    },
    "background": "a plain",
    "tracks": [
        {"instance": "car", "phases": [{"label": "rigid", "start": 0, "end": _FRAMES - 1}], "boxes": _CAR},
        {"instance": "tree", "phases": [{"label": "motionless", "start": 0, "end": _FRAMES - 1}], "boxes": _TREE},
    ],
    "depth_order": ["car", "tree"],
}

REQUESTS: Final[dict[str, Any]] = {
    "prompt": {
        "summary": "A prompt, and nothing else",
        "value": {"prompt": "a red car drives to the right while a tree stands still"},
    },
    "settings": {
        "summary": "The same video again, with labels of your own",
        "value": {
            "prompt": "a butterfly flutters above a flower",
            "backbone": "emoji-world",
            "seed": 7,
            "steps": 25,
            "fps": 8,
            "guidance_scale": 3.0,
            "metadata": {"order": "1234"},
        },
    },
    "guidance": {
        "summary": "Guidance of one's own: rigid things only, more strongly",
        "value": {
            "prompt": "a red car drives to the right while a tree stands still",
            "guidance": {"branches": ["gig"], "strength": 0.3},
        },
    },
    "plain": {
        "summary": "The same without guidance",
        "value": {"prompt": "a red car drives to the right while a tree stands still", "guidance": "off"},
    },
    "plan": {"summary": "A plan of your own: planning is skipped", "value": {"plan": _PLAN, "seed": 7}},
}
