"""The texts of a graph: descriptions, attributes, the background."""

from planner_service.parser.actions import Action
from planner_service.parser.lexicon import lexicon, word_list
from planner_service.parser.mentions import Use
from planner_service.parser.prepositions import preposition_before
from planner_service.parser.scene import Scene
from planner_service.parser.wording import article, gerund, trim
from shared.plan import NO_PLACE


def attributes_of(scene: Scene, number: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(trim(action.text)[:120] for action in scene.actions if number in action.subjects))[:4]


def description_of(scene: Scene, number: int) -> str:
    """The regional description: the instance and what it does, "a red car driving to the right"."""
    name = scene.mentions[number].name
    described = f"{article(name)}{name}"
    for action in scene.actions:
        if number in action.subjects and action.start >= scene.mentions[number].end:
            described += f" {_doing(scene, action)}"
            break
    return described.strip()[:400]


def _doing(scene: Scene, action: Action) -> str:
    rest = trim(" ".join(word.lower for word in scene.words[action.index + 1 : action.end]))
    if action.lemma == "be":
        return rest
    verb = scene.words[action.index].lower
    if action.passive:
        return f"{verb} {rest}".strip()
    return f"{'not ' if action.negated else ''}{gerund(action.lemma)} {rest}".strip()


def background_of(scene: Scene) -> str:
    """The places and times of the prompt, with their prepositions."""
    phrases: list[str] = []
    for number, mention in enumerate(scene.mentions):
        matched = preposition_before(scene.words, mention.start)
        phrase = matched[1] if matched is not None else ""
        alone = not phrase and (mention.start == 0 or scene.words[mention.start - 1].text in word_list("clause_marks"))
        is_time = lexicon().is_in("time", mention.name) and (alone or phrase in word_list("time_prepositions"))
        if (
            (mention.use is Use.BACKGROUND or is_time)
            and number not in scene.drawn
            and mention.name not in word_list("of_frame")
        ):
            phrases.append(f"{phrase} {mention.text}".strip())
    joined = ", ".join(dict.fromkeys(phrases))
    return joined[:120].rstrip(" ,") or NO_PLACE
