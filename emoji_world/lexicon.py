"""People's words, sorted by what the world can make of them.  Base forms; `bridge.py` knows the inflections."""

from collections.abc import Mapping
from typing import Literal, TypeVar

from emoji_world.spec import Background, Motion
from emoji_world.vocabulary import SPRITES, Kind

T = TypeVar("T")


def _by_word(table: Mapping[T, str]) -> dict[str, T]:
    """Meaning → "word word …" turned into word → meaning."""
    return {word: meaning for meaning, words in table.items() for word in words.split()}


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


SYNONYMS: dict[str, str] = _by_word(
    {
        "car": "automobile sedan coupe suv limousine limo jeep racecar convertible hatchback vehicle",
        "taxi": "cab",
        "truck": "lorry van pickup trailer wagon minivan",
        "bus": "minibus coach tram trolley",
        "train": "locomotive subway",
        "bicycle": "bike tricycle",
        "motorcycle": "motorbike scooter moped",
        "boat": "sailboat yacht canoe kayak raft",
        "ship": "vessel ferry submarine",
        "airplane": "plane aeroplane jet aircraft glider",
        "helicopter": "chopper drone",
        "rocket": "spaceship spacecraft missile",
        "dog": "puppy pup doggy hound poodle corgi retriever bulldog terrier wolf fox coyote",
        "cat": "kitten kitty tabby feline",
        "horse": "pony stallion mare foal zebra donkey deer reindeer unicorn camel giraffe",
        "cow": "bull ox calf cattle buffalo bison yak",
        "pig": "piglet hog boar hippo hippopotamus",
        "sheep": "lamb goat ram ewe alpaca llama",
        "elephant": "rhino rhinoceros mammoth",
        "tiger": "lion leopard cheetah panther jaguar lynx",
        "rabbit": "bunny hare hamster mouse rat squirrel guinea kangaroo",
        "monkey": "ape gorilla chimpanzee chimp",
        "bear": "teddy koala",
        "chicken": "hen rooster turkey chick",
        "turtle": "tortoise",
        "bird": "sparrow pigeon parrot robin swallow crow raven gull seagull dove canary owl flamingo",
        "duck": "goose swan duckling",
        "eagle": "hawk falcon vulture",
        "butterfly": "moth dragonfly",
        "bee": "wasp mosquito ladybug insect bug",
        "fish": "goldfish salmon trout carp jellyfish squid",
        "whale": "orca",
        "dolphin": "porpoise seal",
        "crab": "lobster shrimp octopus",
        "man": "person boy child kid people guy human pedestrian runner walker jogger cyclist chef "
        "baby toddler soldier policeman farmer surfer skater astronaut",
        "woman": "dancer ballerina lady girl mother grandmother",
        "robot": "android machine droid",
        "tree": "oak pine fir birch bush shrub willow maple spruce",
        "flower": "sunflower rose tulip daisy plant",
        "house": "home building barn cabin tower castle hut church shop",
        "flag": "banner",
        "ball": "basketball football soccer volleyball marble sphere",
        "cloud": "fog",
        "sun": "sunshine",
    }
)

NEAREST: dict[str, tuple[str, ...]] = {
    "dog": ("cat", "sheep", "pig"),
    "cow": ("sheep", "pig"),
    "horse": ("sheep", "pig", "cat"),
    "elephant": ("pig", "sheep"),
    "bear": ("pig", "sheep"),
    "panda": ("sheep", "pig"),
    "chicken": ("bird",),
    "penguin": ("bird",),
    "turtle": ("pig", "sheep"),
    "balloon": ("ball",),
    "sun": ("ball",),
    "star": ("ball",),
    "cloud": ("sheep", "ball"),
    "rocket": ("bird", "car"),
    "snowman": ("robot", "tree"),
}
"""What stands in for a sprite that a world lacks, before anything else of its kind does."""

KIND_STAND_INS: dict[Kind, tuple[str, ...]] = {
    "vehicle": ("car", "truck", "bus", "robot"),
    "boat": ("car", "ship", "boat"),
    "flyer": ("bird", "airplane", "ball"),
    "animal": ("cat", "sheep", "pig", "dog", "horse"),
    "swimmer": ("bird", "fish", "whale"),
    "person": ("man", "woman", "robot", "cat"),
    "plant": ("tree", "flower"),
    "thing": ("ball", "leaf"),
}

PLACE_WORDS: dict[str, Background] = _by_word(
    {
        "sky": "sky air heaven cloudy",
        "grass": "grass field meadow park lawn garden forest farm hill pasture countryside yard wood jungle prairie",
        "road": "road street highway city avenue lane bridge path town driveway motorway parking sidewalk track",
        "sea": "sea water ocean lake river pond pool harbor bay wave",
        "night": "night dark darkness midnight space moonlight evening moon nighttime",
        "sand": "sand desert dune beach shore coast sahara",
    }
)
USUAL_PLACE: dict[Kind, Background] = {
    "vehicle": "road",
    "boat": "sea",
    "flyer": "sky",
    "animal": "grass",
    "swimmer": "sea",
    "person": "road",
    "plant": "grass",
    "thing": "grass",
}
"""Where an object is, if the prompt does not say."""

Move = Literal["move"]
MOVE: Move = "move"
"""A verb of motion that says no direction."""
VERBS: dict[str, Motion | Move] = _by_word(
    {
        MOVE: "drive move run walk fly swim roll slide go travel ride sail race speed cross jog gallop follow chase "
        "rush float drift crawl march glide zoom pass approach head come leave enter pull push trot sprint steer "
        "cruise flee escape hurry wander stroll pace stride sneak paddle row hover accelerate turn overtake kick throw "
        "carry drag tow",
        "up": "rise climb ascend soar lift launch",
        "down": "fall drop descend dive sink land plunge",
        "still": "stand park sit lie rest stay wait stop sleep watch look stare stationary motionless still idle "
        "anchor freeze remain pause nap perch unmoving graze eat drink",
        "sway": "sway dance flutter wave wiggle shake rock swing wobble tremble twirl flap shiver bend waltz lean "
        "swirl quiver",
        "squash": "bounce squash jump hop pulse breathe squeeze stretch jiggle leap bob deform",
    }
)
DRAGGING = frozenset({"chase", "follow", "pull", "push", "ride", "kick", "throw", "carry", "drag", "tow", "overtake"})
"""Verbs whose object moves along with the subject."""
DIRECTION_WORDS: dict[str, Motion] = _by_word(
    {
        "left": "left leftward leftwards west westward westwards",
        "right": "right rightward rightwards east eastward eastwards",
        "up": "up upward upwards north skyward skywards",
        "down": "down downward downwards south",
    }
)
DEFAULT_DIRECTION: Motion = "right"

PHRASES: dict[str, str] = {
    "up and down": "bouncing",
    "side to side": "swaying",
    "left and right": "swaying",
    "back and forth": "swaying",
    "from the left to the right": "rightwards",
    "from the right to the left": "leftwards",
    "left to right": "rightwards",
    "right to left": "leftwards",
    "top to bottom": "downwards",
    "bottom to top": "upwards",
    "from the left( side)?": "rightwards",
    "from the right( side)?": "leftwards",
    "in opposite directions": "away one_another",
    "takes off": "ascends",
    "taking off": "ascending",
    "does not move": "still",
    "doesn't move": "still",
    "not moving": "still",
    "without moving": "still",
    "each other": "one_another",
    "one another": "one_another",
}
"""Wordings of several words (regular expressions), replaced before anything else, in this order."""

COLOURS = _words("red green blue yellow white black gray grey pink orange brown purple golden silver beige")
CLAUSE_ENDS = _words("while whereas and as but when then")
SHARING_ENDS = frozenset({"and", ","})
"""After these, a clause without a verb takes the next one's: "a pig and a cat run"."""
FUNCTION_WORDS = _words(
    "a an the is are was were be being been it its their his her he she they there this that these those "
    "to of in on at by with from into onto over under across through near beside next behind front along "
    "past around above below between toward towards away off out inside outside for very one_another some "
    "video clip scene showing shows show who which has have had do does not no"
)
TOWARD = frozenset({"toward", "towards"})


def sprite_of(word: str) -> str | None:
    """The sprite that a base form names, of all that can be drawn, whether or not a world has it."""
    return word if word in SPRITES else SYNONYMS.get(word)
