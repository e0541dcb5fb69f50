"""How things carry others: how deep who is on them sits in, and what carries people rather than what they work with."""

from functools import cache

from planner_service.motion.nouns import Kind, head_phrase, is_a, noun_of, singular

FLAT = 0.12
"""What is no higher than this is stepped into a little, a fraction of the frame."""
DEPTHS: tuple[tuple[frozenset[str], float], ...] = (
    (frozenset(("stool", "table", "desk", "counter", "shelf")), 0.05),
    (frozenset(("seat", "bench", "swing", "throne")), 0.5),
    (frozenset(("bed", "hammock", "cradle")), 0.45),
    (frozenset(("bicycle", "motorcycle", "scooter", "moped", "cycle", "tricycle", "unicycle")), 0.45),
    (
        frozenset(
            ("boat", "sled", "sledge", "cart", "wagon", "sleigh", "raft", "tub", "bathtub", "carousel", "saddle")
        ),
        0.5,
    ),
)
"""How deep, as a share of the height, sits who is on one of these or on a kind of it."""
IN_A_SADDLE = 0.35
CARRYING = frozenset(
    (
        "seat",
        "bed",
        "furniture",
        "floor cover",
        "vehicle",
        "craft",
        "structure",
        "platform",
        "plant",
        "plant part",
        "plant organ",
        "stone",
        "rock",
        "line",
        "rope",
        "wire",
        "branch",
        "carpet",
        "mat",
        "rug",
        "blanket",
        "hammock",
        "swing",
        "beam",
        "log",
        "sled",
        "animal",
        "bathtub",
        "tub",
        "geological formation",
        "fence",
        "pole",
        "box",
        "nest",
        "pillow",
        "cushion",
        "basket",
    )
)
"""What people and animals are on or in while they do something else."""
WORKPLACES = frozenset(("table", "desk", "counter", "worktable", "workbench", "sink", "stove", "oven", "easel"))


@cache
def seat_depth(name: str) -> float:
    """How deep in from its top is what is on a thing, as a share of its height."""
    noun, head = noun_of(name), head_of(name)
    if noun.kind is Kind.ANIMATE:
        return IN_A_SADDLE
    for kinds, depth in DEPTHS:
        if is_a(head, kinds):
            return depth
    return 0.2 if noun.height <= FLAT else 0.0


@cache
def carries_people(name: str) -> bool:
    """Whether it is what who does something is on or in meanwhile: a bench, a boat, a branch."""
    head = head_of(name)
    if noun_of(name).kind is Kind.VEHICLE:
        return True
    return not is_a(head, WORKPLACES) and is_a(head, CARRYING)


def is_workplace(name: str) -> bool:
    return is_a(head_of(name), WORKPLACES)


def head_of(name: str) -> str:
    words = head_phrase(name).lower().replace("-", " ").split()
    return singular(words[-1]) if words else ""
