"""Turns of phrase in plainer words (`idioms.toml`): "on horseback", "takes two slow steps"."""

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from planner_service.parser.wording import gerund, third_person

AMOUNT = r"(?:(?:a|an|another|one|two|three|several|few|some|more|big|small|little) )+"


def rephrase(text: str) -> str:
    """The text with such turns replaced."""
    for said, plain in _data()["said"].items():
        text = re.sub(rf"\b{said}\b", plain, text)
    if re.search(r"\bchess|\bcheckmate", text, re.IGNORECASE):
        text = _pieces().sub(r"\1 chess \2", text)  # a white knight rides elsewhere
    return _light().sub(_plain, text)


def _plain(match: re.Match[str]) -> str:
    """The noun as the verb, in the form that the verb had."""
    verb, noun, manner = match["verb"], match["noun"], match["manner"]
    bare = verb in _data()["light"]["verbs"]
    said = noun if bare else gerund(noun) if verb.endswith("ing") else third_person(noun)
    return f"{said} {manner}ly" if manner else said


@cache
def _pieces() -> re.Pattern[str]:
    colors, nouns = ("|".join(_data()["pieces"][key]) for key in ("colors", "nouns"))
    return re.compile(rf"\b({colors}) ((?:{nouns})s?)\b", re.IGNORECASE)


@cache
def _light() -> re.Pattern[str]:
    light = _data()["light"]
    verbs = "|".join(form for verb in light["verbs"] for form in (third_person(verb), gerund(verb), verb))
    nouns, manners = ("|".join(light[key]) for key in ("nouns", "manners"))
    return re.compile(rf"\b(?P<verb>{verbs}) {AMOUNT}(?:(?P<manner>{manners}) )?(?P<noun>{nouns})s?\b(?: of\b)?")


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("idioms.toml").read_text(encoding="utf-8"))
