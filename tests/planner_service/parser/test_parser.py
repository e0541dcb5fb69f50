"""Worked examples: what the parser reads in a prompt."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from planner_service.motion.cues import Direction, Goal, Reading
from planner_service.parser.cueing import APPROACH, RECEDE
from planner_service.reasoning import Request, plan
from shared.errors import NotEnglish, NothingToDraw
from shared.motion_graph import MotionLabel

STILL, RIGID, SOFT = MotionLabel.MOTIONLESS, MotionLabel.RIGID, MotionLabel.NON_RIGID
LEFT, RIGHT, UP, DOWN = Direction.LEFT, Direction.RIGHT, Direction.UP, Direction.DOWN


def told(reading: Reading) -> list[tuple[str, MotionLabel, Direction | None]]:
    """Name, label and (last) direction of each instance."""
    return [
        (instance.name, instance.label, cues.phases[-1].direction)
        for instance, cues in zip(reading.graph.instances, reading.cues, strict=True)
    ]


def related(reading: Reading) -> set[tuple[str, str, str]]:
    return {(relation.source, relation.phrase, relation.target) for relation in reading.graph.relations}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "A truck passes by, with a bird perching in a tree behind",
            [("truck", RIGID, RIGHT), ("bird", STILL, None), ("tree", STILL, None)],
        ),
        ("a red car drives to the right while a tree stands still", [("red car", RIGID, RIGHT), ("tree", STILL, None)]),
        (
            "a horse gallops leftward through the mist, a hawk glides rightward above",
            [("horse", SOFT, LEFT), ("hawk", SOFT, RIGHT)],
        ),
        ("A train moving left to right across a bridge", [("train", RIGID, RIGHT)]),
        ("a ball rolls left while a kitten dashes right", [("ball", RIGID, LEFT), ("kitten", SOFT, RIGHT)]),
        ("a barrel rolls from the right to the left", [("barrel", RIGID, LEFT)]),
        ("a balloon rises into the sky", [("balloon", RIGID, UP)]),
        ("an apple falls from a tree", [("apple", RIGID, DOWN), ("tree", STILL, None)]),
        ("a boy climbs up a ladder", [("boy", SOFT, UP), ("ladder", STILL, None)]),
        ("a submarine sinks slowly", [("submarine", RIGID, DOWN)]),
        ("a stone is thrown to the left", [("stone", RIGID, LEFT)]),
        ("a girl kicks a ball to the right", [("girl", SOFT, None), ("ball", RIGID, RIGHT)]),
        ("a flag flutters above a house", [("flag", SOFT, None), ("house", STILL, None)]),
        ("a woman is dancing in the park", [("woman", SOFT, None)]),
        ("a parked motorcycle and a sleeping dog", [("parked motorcycle", STILL, None), ("sleeping dog", STILL, None)]),
        ("a dog and a cat run to the left", [("dog", SOFT, LEFT), ("cat", SOFT, LEFT)]),
        ("Sled slides down a snowy hill", [("Sled", RIGID, DOWN)]),
        ("a lantern rise into the night sky", [("lantern", RIGID, UP)]),
        ("a big yellow school bus turns left on a busy street", [("big yellow school bus", RIGID, LEFT)]),
        ("a goat that is standing on a rock looks around", [("goat", STILL, None), ("rock", STILL, None)]),
        ("a windmill rotates behind a farmhouse", [("windmill", RIGID, None), ("farmhouse", STILL, None)]),
        ("a man riding a horse to the left on the beach", [("man", SOFT, LEFT), ("horse", SOFT, LEFT)]),
        ("a girl with curly hair sits on a bench", [("girl with curly hair", STILL, None), ("bench", STILL, None)]),
        ("a bowl of soup on a table", [("bowl of soup", STILL, None), ("table", STILL, None)]),
        ("the chef stirs up a soup", [("chef", SOFT, None), ("soup", STILL, None)]),
        ("a boy is flying a kite", [("boy", SOFT, None), ("kite", SOFT, RIGHT)]),
        ("a robot and a dog walk side by side to the right", [("robot", SOFT, RIGHT), ("dog", SOFT, RIGHT)]),
        ("a hat left on a chair", [("hat", STILL, None), ("chair", STILL, None)]),
        ("the sun rises, moving upwards behind a tower", [("sun", RIGID, UP), ("tower", STILL, None)]),
        ("a ball bounces up and down", [("ball", SOFT, None)]),
        ("a ball bounces up and down to the left", [("ball", SOFT, LEFT)]),
        ("a dog walks back and forth", [("dog", SOFT, None)]),
        ("a bird flies up and to the left", [("bird", SOFT, Direction.UP_LEFT)]),
        ("a plane flies diagonally up to the right", [("plane", RIGID, Direction.UP_RIGHT)]),
        ("a kite flies to the upper left", [("kite", SOFT, Direction.UP_LEFT)]),
        ("a car drives to the right and downwards", [("car", RIGID, Direction.DOWN_RIGHT)]),
        ("a ball rolls toward the bottom-left", [("ball", RIGID, Direction.DOWN_LEFT)]),
        ("a man walks down the street to the left", [("man", SOFT, LEFT)]),
        ("a dog does not run", [("dog", STILL, None)]),
        ("the man doesn't move to the left", [("man", STILL, None)]),
        ("a cat sits without moving", [("cat", STILL, None)]),
        ("a girl does not kick a ball", [("girl", STILL, None), ("ball", STILL, None)]),
    ],
)  # fmt: skip
def test_instances_labels_and_directions(parser, prompt, expected):
    assert told(parser.read(prompt, 0, None).reading) == expected


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("three red dogs", ["dog_1", "dog_2", "dog_3"]),
        ("two wolves and a fox", ["wolf_1", "wolf_2", "fox"]),
        ("a flock of birds crosses the sky", ["bird_1", "bird_2", "bird_3", "bird_4", "bird_5"]),
        ("a couple of children", ["child_1", "child_2"]),
        ("4 kites", ["kite_1", "kite_2", "kite_3", "kite_4"]),
        ("a rabbit is near a stone, then the rabbit hops away", ["rabbit", "stone"]),
        ("a black cat and a white cat", ["cat", "cat2"]),
        *((f"{number} dogs", [f"dog_{index}" for index in range(1, count + 1)]) for number, count in (
            ("eight", 8), ("nine", 9), ("twelve", 12), ("seventeen", 17), ("twenty-five", 25), ("a dozen", 12),
            ("9", 9), ("40", 32), ("1,000", 32), ("one hundred", 32),
        )),
    ],
)  # fmt: skip
def test_counts(parser, prompt, ids):
    assert list(parser.read(prompt, 0, None).reading.graph.ids) == ids


def test_no_more_instances_than_a_plan_may_have(parser):
    graph = parser.read("twenty dogs, nine cats and eight birds", 0, None).reading.graph
    assert Counter(instance.name for instance in graph.instances) == {"dog": 15, "cat": 9, "bird": 8}
    assert graph.left_out == ("5 of 20: dog",)


@pytest.mark.parametrize(
    ("prompt", "relation"),
    [
        ("a cat sitting on the left of a fireplace", ("cat", "on the left of", "fireplace")),
        ("a llama walks on the right side of a motorcycle", ("llama", "on the right side of", "motorcycle")),
        ("a frog perched on top of a television", ("frog", "on top of", "television")),
        ("a puppy dozing under a crowded table", ("puppy", "under", "table")),
        ("a lamp next to a bed", ("lamp", "next to", "bed")),
        ("a dog sits behind a vase", ("dog", "behind", "vase")),
        ("In front of a tower, a bird hovers", ("bird", "in front of", "tower")),
        ("a man puts a cup on a table", ("cup", "on", "table")),
        ("a bird perching in a tree", ("bird", "in", "tree")),
    ],
)
def test_spatial_relations(parser, prompt, relation):
    assert relation in related(parser.read(prompt, 0, None).reading)


@pytest.mark.parametrize(
    ("prompt", "goal", "target"),
    [
        ("a dog runs toward a cat", Goal.TOWARD, "cat"),
        ("a mouse runs away from a cat", Goal.AWAY_FROM, "cat"),
        ("a squirrel hops to the top of a crate", Goal.ONTO, "crate"),
        ("a fox is on the left of a log, then the fox leaps to the right of the log", Goal.RIGHT_OF, "log"),
    ],
)
def test_goals(parser, prompt, goal, target):
    phase = parser.read(prompt, 0, None).reading.cues[0].phases[-1]
    assert (phase.goal, phase.target, phase.direction) == (goal, target, None)


@pytest.mark.parametrize(
    ("prompt", "scale"),
    [
        ("a balloon approaches the camera", APPROACH),
        ("a plane flies towards the viewer", APPROACH),
        ("a horse comes closer", APPROACH),
        ("a train recedes", RECEDE),
        ("a man walks away from the camera", RECEDE),
        ("a boat sails into the distance", RECEDE),
    ],
)
def test_coming_nearer_and_going_away_is_scale_alone(parser, prompt, scale):
    phase = parser.read(prompt, 0, None).reading.cues[0].phases[0]
    assert (phase.scale, phase.direction, phase.target) == (scale, None, None)
    assert phase.label is not STILL


@pytest.mark.parametrize("prompt", ["a car approaches a house", "a dog walks closer to a cat"])
def test_what_something_else_comes_nearer_to_is_its_goal(parser, prompt):
    phase = parser.read(prompt, 0, None).reading.cues[0].phases[0]
    assert (phase.scale, phase.goal) == (1.0, Goal.TOWARD)


@pytest.mark.parametrize(
    ("prompt", "goal"),
    [
        ("two people walk toward each other", Goal.TOWARD),
        ("two trains approach each other", Goal.TOWARD),
        ("a bus and a truck pass each other", Goal.PAST),
        ("a dog and a cat run away from one another", Goal.AWAY_FROM),
    ],
)
def test_toward_each_other(parser, prompt, goal):
    reading = parser.read(prompt, 0, None).reading
    first, second = reading.graph.ids
    assert [(cues.phases[0].goal, cues.phases[0].target) for cues in reading.cues] == [(goal, second), (goal, first)]


@pytest.mark.parametrize(
    ("prompt", "relations"),
    [
        ("a boy and a girl run toward a tree", {("boy", "runs toward", "tree"), ("girl", "runs toward", "tree")}),
        ("a dog and a cat sit on a sofa", {("dog", "on", "sofa"), ("cat", "on", "sofa")}),
        ("a man and a woman stand next to a car", {("man", "next to", "car"), ("woman", "next to", "car")}),
        ("Behind a vase, a dog and a cat sit", {("dog", "behind", "vase"), ("cat", "behind", "vase")}),
        ("two cars and a bus drive toward a house", {(v, "drives toward", "house") for v in ("car_1", "car_2", "bus")}),
    ],
)  # fmt: skip
def test_what_is_said_of_several_is_said_of_each(parser, prompt, relations):
    made = plan(parser, Request(prompt, 17, 720, 480, 0))
    assert {(relation.source, relation.phrase, relation.target) for relation in made.graph.relations} == relations


@pytest.mark.parametrize(
    ("active", "passive"),
    [
        ("a cat chases a mouse", "a mouse is chased by a cat"),
        ("two wolves chase a deer", "a deer is chased by two wolves"),
        ("a zorble follows a boy", "a boy is followed by a zorble"),
        ("a crane lifts a crate", "a crate is lifted by a crane"),
        ("a hunter approaches a deer", "a deer is approached by a hunter"),
    ],
)
def test_a_passive_says_the_same_as_the_active(parser, active, passive):
    readings = [parser.read(prompt, 0, None).reading for prompt in (active, passive)]
    acting, suffering = (
        ({(node.id, node.name, node.label) for node in reading.graph.instances}, set(reading.graph.relations))
        for reading in readings
    )
    assert acting == suffering
    assert acting[1]


@pytest.mark.parametrize(
    ("prompt", "relation"),
    [
        ("a car is parked by a bus", ("car", "by", "bus")),
        ("a lamp by a bed", ("lamp", "by", "bed")),
        ("a ball is hit by a hammer", ("hammer", "hits", "ball")),
    ],
)
def test_by_is_a_place_of_what_rests_and_an_agent_of_what_is_done(parser, prompt, relation):
    assert related(parser.read(prompt, 0, None).reading) == {relation}


@pytest.mark.parametrize(
    ("prompt", "direction"),
    [
        ("a motorcycle zooms to the left", LEFT),
        ("a drone zooms through the sky", RIGHT),
        ("the camera zooms in on a drone", None),
        ("a shot of a drone zooms out", None),
    ],
)
def test_a_thing_zooms_by_itself_and_the_camera_moves_nothing(parser, prompt, direction):
    cues = parser.read(prompt, 0, None).reading.cues
    assert [cue.phases[0].direction for cue in cues] == [direction]


def test_then_begins_a_new_phase(parser):
    reading = parser.read("a leaf rests on a bench, then it flutters to the left", 0, None).reading
    leaf = reading.cues[0]
    assert [(phase.label, phase.until) for phase in leaf.phases] == [(STILL, 0.5), (SOFT, 1.0)]
    assert leaf.phases[1].direction is LEFT


@pytest.mark.parametrize(
    ("prompt", "background"),
    [
        ("a dog runs in the park at night", "in the park, at night"),
        ("a car on a wet road", "on a wet road"),
        ("On a grassy field with wildflowers, a rabbit sits", "on a grassy field, with wildflowers"),
        ("a dog", "a plain background"),
    ],
)
def test_places_and_times_are_background(parser, prompt, background):
    assert parser.read(prompt, 0, None).reading.background.lower() == background.lower()


def test_depth(parser):
    reading = parser.read("a dog sits behind a tiny vase", 0, None).reading
    assert reading.depth_order == ("vase", "dog")
    assert parser.read("an elephant stands in front of a mouse", 0, None).reading.depth_order == ("elephant", "mouse")


def test_regional_descriptions(parser):
    reading = parser.read("a red car drives to the right while an owl sits on a fence", 0, None).reading
    assert [instance.description for instance in reading.graph.instances] == [
        "a red car driving to the right",
        "an owl sitting on a fence",
        "a fence",
    ]
    assert reading.graph["car"].attributes == ("drives to the right",)


@pytest.mark.parametrize("prompt", ["...", "12 34", "   !", "🚗"])
def test_nothing_to_read(parser, prompt):
    with pytest.raises(NothingToDraw, match="no word"):
        parser.read(prompt, 0, None)


@pytest.mark.parametrize("prompt", ["the camera pans left", "cinematic, 8k", "no people"])
def test_nothing_to_draw(parser, prompt):
    with pytest.raises(NothingToDraw, match="names nothing"):
        parser.read(prompt, 0, None)


@pytest.mark.parametrize(
    ("prompt", "language"), [("eine Katze sitzt auf dem Dach", "de"), ("собака бежит направо", "ru")]
)
def test_another_language(parser, prompt, language):
    with pytest.raises(NotEnglish, match=rf"\({language}\)"):
        parser.read(prompt, 0, None)


@pytest.mark.parametrize(
    "prompt",
    [
        "Garden",
        "run",
        "A TRUCK PASSES BY",
        "of the with and",
        "x" * 2000,
        "a dog " * 300,
        "he it they who",
        "\tthe\n\n",
        "it's 5 o'clock; don't!",
    ],
)
def test_every_prompt_with_a_word_is_read(parser, prompt):
    assert parser.read(prompt, 0, None).reading.graph.instances


WORDS = (
    "a an the A B III this another some ² ½ 2 12 007 many dozen both of of and and or , . ( ) - ' 's ? on in to toward "
    "with left right up not then while who it each other dog dogs cats car people fish tree house robot sky hand top "
    "side red big quickly runs run sits jumps is are stands flies rides drives bounces held moving sleeping "
    "appears vanishes enters leaves past suddenly frame another it its them by before after squashed 犬 é 🚗"
)


@pytest.mark.timeout(300)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@example(["a", "car", "(", "A", ")", "and", "a", "truck", "(", "B", ")", "drive", "to", "the", "right"])
@example(["an", "A", "and", "a", "B"])
@example(["²", "dogs", "run"])
@given(st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=20))
def test_any_mix_of_words_becomes_a_plan_unless_there_is_nothing_to_draw(parser, words):
    prompt = " ".join(words)
    with suppress(NothingToDraw, NotEnglish):
        assert plan(parser, Request(prompt, 9, 720, 480, 0)).frames == 9
