"""What nobody in their right mind would send: requests, plans, messages and records, each drawn by chance.

A case is bytes and where they go.  Bodies go to the API and the planner as they are, JSON or not; messages and records
are written into Valkey behind the services' backs, as an older version, a newer one or a bug might.
"""

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

from generator_service.api.openapi import REQUESTS
from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.record import JobRecord
from generator_service.jobs.tickets import FUNCTION

Json = Any
Target = Literal["POST /jobs", "POST /plans", "message", "record"]

PLAN: Final[Json] = REQUESTS["plan"]["value"]["plan"]
JSON_TYPE: Final = "application/json"

TEXTS: Final = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff car",
    "\u202eright to left\u2066",
    "e" + "\u0301" * 300,
    "🚗" * 40,
    "a " * 999,
    "x" * 2000,
    "x" * 2001,
    "x" * 100_000,
    "'; DROP TABLE jobs; --",
    "../../etc/passwd",
    "{{7*7}} ${jndi:ldap://127.0.0.1} %s%n {0}",
    "<extra_id_0> </s> <pad>",
    "\n\n\n",
    "123 456 !!! ???",
    "a red car drives to the right" + ", then stops" * 60,
    "a dog and " * 90 + "a cat run",
    "ten thousand dogs run",
)
WORDS: Final = (
    *("a", "the", "two", "ten", "dogs", "red", "car", "flag", "it", "who", "'s", "and", ",", ".", "-", "then", "while"),
    *("with", "on", "behind", "of", "from", "to", "left", "runs", "drives", "jumps", "waving", "slowly", "not"),
)
NUMBERS: Final = (-1, 0, 1, 2, 8, 10, 241, 242, 2**31, 2**32 - 1, 2**32, 2**63, 10**30, -0.0, 0.5, 1e-300, 1e300, True)
OTHERS: Final[tuple[Json, ...]] = (None, [], {}, [[]], [None] * 9, {"": ""}, [0, 0, 0, 0], "rigid", False)
BOXES: Final = (
    [0, 0, 0, 0],
    [0.5, 0.5, 0.5, 0.9],
    [0.9, 0.9, 0.1, 0.1],
    [0, 0, 1, 1],
    [-1, 0, 2, 1],
    [0, 0, 1],
    [1] * 9,
)
LITERALS: Final = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "9" * 5000,
    "0x10",
    "1_000",
    "'a'",
    "",
    "[" * 3000,
)
"""In the place of a value, whether or not that is JSON."""


@dataclass(frozen=True)
class Case:
    kind: str
    target: Target
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})
    """Of a request."""
    fields: dict[str, bytes] = field(default_factory=dict)
    """Of a message, or of a record; `plan` is the job's plan."""


def make_malformed(seed: int, count: int) -> list[Case]:
    """The same seed gives the same cases; every kind is among the first `len(KINDS)`."""
    chance = random.Random(seed)  # noqa: S311  (no secret)
    return [KINDS[number % len(KINDS)](chance) for number in range(count)]


def _request(chance: random.Random, plan: Json | None = None) -> Json:
    """One that would be accepted, and is drawn in no time."""
    its = {"plan": plan or copy.deepcopy(PLAN)} if plan or chance.random() < 0.6 else {"prompt": "a red car drives"}
    return {**its, "planner": "parser", "steps": 1, "seed": chance.randrange(2**32)}


def _job(kind: str, request: Json) -> Case:
    return Case(kind, "POST /jobs", _bytes(request))


def _bytes(value: Json) -> bytes:
    return json.dumps(value).encode()


def _places(node: Json, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, child in inner for place in [(*at, key), *_places(child, (*at, key))]]


def _put(node: Json, place: tuple[str | int, ...], change: Callable[[Json, Any], None]) -> None:
    for key in place[:-1]:
        node = node[key]
    change(node, place[-1])


def _value(chance: random.Random) -> Json:
    return copy.deepcopy(chance.choice(chance.choice((TEXTS, NUMBERS, OTHERS, BOXES))))


# plans and requests


def _replace(chance: random.Random) -> Case:
    request = _request(chance)
    for _ in range(chance.choice((1, 1, 2, 5))):
        _put(request, chance.choice(_places(request)), lambda node, key: node.__setitem__(key, _value(chance)))
    return _job("a value replaced", request)


def _remove(chance: random.Random) -> Case:
    request = _request(chance)
    _put(request, chance.choice(_places(request)), lambda node, key: node.__delitem__(key))
    return _job("a value removed", request)


def _repeat(chance: random.Random) -> Case:
    """An instance, a track, a box or a name twice."""
    plan = copy.deepcopy(PLAN)
    lists = [
        plan["graph"]["instances"],
        plan["tracks"],
        plan["depth_order"],
        *(track["boxes"] for track in plan["tracks"]),
    ]
    chosen = chance.choice(lists)
    chosen.extend([copy.deepcopy(chance.choice(chosen))] * chance.choice((1, 2, 300)))
    return _job("something repeated", _request(chance, plan))


def _wrong_frames(chance: random.Random) -> Case:
    plan = copy.deepcopy(PLAN)
    frames = chance.choice((1, 2, 8, 10, 49, 241, 242, 5000))
    for track in plan["tracks"][: chance.choice((1, 2))]:
        track["boxes"] = [track["boxes"][0]] * frames
        track["phases"][0]["end"] = frames - 1
    return _job("wrong frame count", _request(chance, plan) | chance.choice(({}, {"frames": frames})))


def _boxes(chance: random.Random) -> Case:
    plan = copy.deepcopy(PLAN)
    boxes = chance.choice(plan["tracks"])["boxes"]
    for _ in range(chance.choice((1, 3))):
        boxes[chance.randrange(len(boxes))] = list(chance.choice(BOXES))
    return _job("boxes without sense", _request(chance, plan))


def _parents(chance: random.Random) -> Case:
    """Cycles, long chains, and parents that are not there."""
    plan = _crowd(chance.choice((2, 16, 17)))
    ids = [each["id"] for each in plan["graph"]["instances"]]
    shift = chance.choice((0, 1, 2))
    for number, instance in enumerate(plan["graph"]["instances"]):
        instance["parent"] = chance.choice((ids[(number + shift) % len(ids)], ids[0], "nobody"))
    return _job("parents in a circle", _request(chance, plan))


def _phases(chance: random.Random) -> Case:
    plan = copy.deepcopy(PLAN)
    label = chance.choice(("motionless", "rigid", "non_rigid", "liquid"))
    cuts = sorted(chance.sample(range(-1, 12), 4))
    pairs = chance.choice((pairwise(cuts), [(0, 3), (4, 8)], [(0, 3), (3, 8)]))
    absent = chance.random() < 0.5
    phases = [{"label": label, "start": start, "end": end, "absent": absent} for start, end in pairs]
    chance.choice(plan["tracks"])["phases"] = phases
    return _job("phases with gaps", _request(chance, plan))


def _literal(chance: random.Random) -> Case:
    """A number or a text that JSON does not know, or that no float holds."""
    request = _request(chance)
    _put(request, chance.choice(_places(request)), lambda node, key: node.__setitem__(key, "@"))
    return Case("a literal", "POST /jobs", _bytes(request).replace(b'"@"', chance.choice(LITERALS).encode(), 1))


def _damage(chance: random.Random) -> Case:
    body = bytearray(_bytes(_request(chance)))
    for _ in range(chance.choice((1, 1, 3, 30))):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return Case("damaged bytes", "POST /jobs", bytes(body[: chance.choice((len(body), chance.randrange(len(body))))]))


def _twice_named(chance: random.Random) -> Case:
    """JSON with a key twice: what one reader checks, another may not see."""
    body = _bytes(_request(chance))
    return Case("a key twice", "POST /jobs", body[:-1] + b', "steps": ' + str(chance.choice(NUMBERS)).encode() + b"}")


def _huge(chance: random.Random) -> Case:
    """Up to three times what is allowed: many tracks, long texts, deep nesting."""
    size = chance.choice((1_000, 20_000, 100_000, 1_000_000))
    plan = json.dumps(PLAN)
    bodies = (
        '{"plan": ' + plan.replace('"tracks": [', '"tracks": [' + "{}," * size, 1) + "}",
        '{"plan": ' + plan.replace('"depth_order": [', '"depth_order": [' + '"car",' * size, 1) + "}",
        '{"prompt": "' + "a" * size + '"}',
        '{"prompt": ' + "[" * size + "]" * size + "}",
        '{"metadata": {' + ",".join(f'"{number}": ""' for number in range(size // 10)) + '}, "prompt": "a car"}',
        '{"a":' * size + "1" + "}" * size,
    )
    return Case("huge", "POST /jobs", chance.choice(bodies).encode())


def _envelope(chance: random.Random) -> Case:
    """A good body in a bad envelope."""
    body = _bytes(_request(chance))
    encodings = (
        body.decode().encode("utf-16"),
        body.decode().encode("utf-32"),
        b"\xef\xbb\xbf" + body,
        b"",
        b"\x1f\x8b" + body,
    )
    headers = (
        {"Content-Type": JSON_TYPE},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=utf-7"},
        {"Content-Type": JSON_TYPE, "Content-Encoding": "gzip"},
        {"Content-Type": JSON_TYPE, "X-Request-Id": "x" * 5000},
        {"Content-Type": JSON_TYPE, "traceparent": "00-zz-zz-zz"},
        {"Content-Type": JSON_TYPE, "Authorization": "Bearer \xff"},
        {},
    )
    return Case("a strange envelope", "POST /jobs", chance.choice((body, *encodings)), dict(chance.choice(headers)))


def _webhook(chance: random.Random) -> Case:
    hosts = (
        "127.0.0.1",
        "[::1]",
        "169.254.169.254",
        "example.com@127.0.0.1",
        "a." * 200,
        "\ud800",
        "xn--",
        "0x7f.1",
        "[::ffff:1]",
    )
    url = chance.choice(("http", "https", "file", "gopher", "")) + "://" + chance.choice(hosts)
    return _job(
        "a webhook to nowhere",
        _request(chance) | {"webhook": {"url": url + chance.choice(("", ":0", ":99999", "/\n"))}},
    )


# valid, and absurd: these are drawn


def _crowd(count: int) -> Json:
    """So many instances, all of them over the whole frame."""
    plan = copy.deepcopy(PLAN)
    ids = [f"thing_{number}" for number in range(count)]
    plan["graph"] = {
        "instances": [
            {"id": each, "name": "red car", "description": "a red car", "label": "motionless"} for each in ids
        ],
        "relations": [],
    }
    phases = [{"label": "motionless", "start": 0, "end": 8}]
    plan["tracks"] = [{"instance": each, "phases": phases, "boxes": [[0, 0, 1, 1]] * 9} for each in ids]
    plan["depth_order"] = ids
    return plan


def _absurd(chance: random.Random) -> Case:
    plan = _crowd(chance.choice((1, 2, 16)))
    for track in plan["tracks"]:
        label = chance.choice(("motionless", "rigid", "non_rigid"))
        size = chance.choice((0.01, 0.011, 0.5, 1.0))

        def box(size: float = size) -> list[float]:
            x, y = chance.uniform(0, 1 - size), chance.uniform(0, 1 - size)
            return [x, y, x + size, y + size]

        track["boxes"] = [box()] * 9 if label == "motionless" else [box() for _ in range(9)]
        track["phases"] = [{"label": label, "start": 0, "end": 8}]
        next(each for each in plan["graph"]["instances"] if each["id"] == track["instance"])["label"] = label
        if label == "motionless" and chance.random() < 0.5:  # there in the last frame alone
            track["phases"] = [
                {"label": label, "start": 0, "end": 7, "absent": True},
                {"label": label, "start": 8, "end": 8},
            ]
    plan["background"] = chance.choice(TEXTS)[:120]
    chance.shuffle(plan["depth_order"])
    guidance = chance.choice(("off", {"strength": chance.choice(NUMBERS)}, {"branches": []}, {"layers": [0, 0]}, {}))
    return _job(
        "absurd, perhaps valid",
        _request(chance, plan) | {"guidance": guidance, "guidance_scale": chance.choice((1, 30))},
    )


def _prompt(chance: random.Random) -> Case:
    planner = chance.choice(("parser", "auto", "language-model"))
    return _job(
        "a strange prompt", _request(chance) | {"prompt": chance.choice(TEXTS), "plan": None, "planner": planner}
    )


# the planner


def _order(chance: random.Random) -> Case:
    order: Json = {"prompt": "a red car drives", "frames": 9, "width": 64, "height": 48, "planner": "parser", "seed": 1}
    for _ in range(chance.choice((1, 1, 3))):
        order[chance.choice([*order, "plan", ""])] = _value(chance)
    return Case("a strange order", "POST /plans", _bytes(order))


def _damage_order(chance: random.Random) -> Case:
    return Case("damaged bytes", "POST /plans", _damage(chance).body)


def _wordy_order(chance: random.Random) -> Case:
    """Words of the parser's own, in any order."""
    chosen = chance.choices(WORDS, k=chance.choice((3, 12, 60, 300)))
    return Case(
        "words in any order", "POST /plans", _bytes({"prompt": " ".join(chosen), "planner": "parser", "frames": 9})
    )


# behind the services' backs


def _message(chance: random.Random) -> Case:
    """In a worker's queue."""
    job = chance.choice(("0" * 32, "", "../..", "\ud800", "x" * 10_000, None, 7, [], {}))
    function = chance.choice((FUNCTION, "os.system", "", None, 7))
    datas = (
        json.dumps([function, None, [job], {}]),
        json.dumps([function, None, [job, job], {"job_id": job}]),
        json.dumps([function, job, [job], {}]),
        json.dumps({"function": function}),
        json.dumps([function]),
        "[" * 20_000,
        "NaN",
        "",
    )
    fields = {
        "data": chance.choice(datas).encode("utf-8", "surrogatepass"),
        "timeout": chance.choice((b"60", b"-1", b"", b"x")),
        "status": chance.choice((b"queued", b"started", b"finished", b"nonsense")),
        "created_at": chance.choice((b"2026-11-24T00:00:00.000000Z", b"yesterday", b"")),
    }
    kept = {name: value for name, value in fields.items() if chance.random() < 0.9}
    return Case(
        "a forged ticket",
        "message",
        chance.choice((b"forged", b"", b"\xff\xfe", b"a-b-c-d", b"with a space", b"../..")),
        fields=kept,
    )


def _record(chance: random.Random) -> Case:
    """A queued or running job's, with some fields gone, damaged or unknown."""
    identity = f"{chance.randrange(16**32):032x}"
    status = chance.choice((JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELING, JobStatus.SUCCEEDED))
    record = JobRecord.model_validate(
        {
            "id": identity,
            "status": status,
            "stage": chance.choice((Stage.PLANNING, Stage.SAMPLING)),
            "prompt": "a red car",
            "planner": "parser",
            "settings": {
                "backbone": "emoji-world", "seed": 1, "steps": 1, "frames": 9, "width": 64, "height": 48, "fps": 8,
                "guidance_scale": 3.0,
            },
            "metadata": {},
            "worker": None if status is JobStatus.QUEUED else "one that is gone",
            "created_at": "2026-11-24T00:00:00Z",
            "updated_at": "2026-11-24T00:00:00Z",
        }
    )  # fmt: skip
    fields = {name: json.dumps(value).encode() for name, value in record.model_dump(mode="json").items()}
    for _ in range(chance.choice((1, 3, 20))):
        fields.pop(chance.choice(list(fields)), None)
    for name in chance.sample(list(fields), chance.choice((0, 1, 3)) if len(fields) > 3 else 0):
        fields[name] = chance.choice((b"", b"{", b"null", b'"nonsense"', b"[1]", b"NaN", b'{"a": 1}'))
    if chance.random() < 0.3:
        fields["of_a_newer_version"] = b"1"
    if chance.random() < 0.3:
        fields["plan"] = chance.choice((b"", b"null", b"{}", b"[" * 5000, _bytes(PLAN)[:-9]))
    return Case("half a record", "record", identity.encode(), fields=fields)


KINDS: Final[tuple[Callable[[random.Random], Case], ...]] = (
    _replace,
    _remove,
    _repeat,
    _wrong_frames,
    _boxes,
    _parents,
    _phases,
    _literal,
    _damage,
    _twice_named,
    _huge,
    _envelope,
    _webhook,
    _absurd,
    _prompt,
    _order,
    _damage_order,
    _wordy_order,
    _message,
    _record,
)
