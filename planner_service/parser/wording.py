"""Words put together again: descriptions and predicates."""

import re


def trim(text: str) -> str:
    """Without the link words and marks that lead to the next clause."""
    return (
        re.sub(r"(?:\s*(?:[,.;:]|\b(?:and|while|as|then|who|which|that|with|is|are|to|when)))+\s*$", "", text).strip()
        or text
    )


def article(name: str) -> str:
    first = name.split()[0].lower() if name else ""
    if not first or (name[0].isupper() and len(name.split()) > 1):
        return ""
    return "an " if first[0] in "aeiou" else "a "


def gerund(verb: str) -> str:
    doubled = re.fullmatch(r"[a-z]*[^aeiou][aeiou][bdgkmnprt]", verb) is not None and len(verb) <= 4
    if verb.endswith("ie"):
        return f"{verb[:-2]}ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe")):
        return f"{verb[:-1]}ing"
    return f"{verb}{verb[-1]}ing" if doubled else f"{verb}ing"


def third_person(verb: str) -> str:
    verb, *particle = verb.split(" ")
    if particle:
        return " ".join([third_person(verb), *particle])
    if verb in ("be", "have"):
        return {"be": "is", "have": "has"}[verb]
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2:-1] not in tuple("aeiou"):
        return f"{verb[:-1]}ies"
    return f"{verb}s"
