"""What a prompt says of the picture, taken apart from what it says of the scene: camera, style, what is left out.

`picture.toml` has the words and patterns.  What is left is what the rest of the parser reads.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from planner_service.motion.nouns import known, singular
from planner_service.parser.lexicon import lexicon, word_list
from planner_service.parser.words import FINITE
from shared.wordnet import senses

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.matcher import Matcher
    from spacy.tokens import Doc, Span, Token

WEIGHT = re.compile(r"[(\[{]+([^()\[\]{}]+?)(?::\d+(?:\.\d+)?)?[)\]}]+")
"""How image generators' users stress words: "(masterpiece:1.2)"."""
FLAG = re.compile(r"(?:^|\s)--\w+(?:\s+[\d.:/]+)?|(?:^|\s)#\w+")
"""Other generators' options, and hashtags."""
TAGGED = re.compile(r"\b(\d)(girls?|boys?|wom[ae]n|m[ae]n|people|dogs?|cats?)\b")
"""How they count: "1girl"."""
SMALL_WORDS = ("ADP", "CCONJ", "PART", "PUNCT", "SYM")
LEFT_OVER = re.compile(
    r"(?:(?<=[,.;:])|^)\s*(?:(?:and|or|but|just|only|with|of|while|as|then)\b\s*|[,.;:]\s*)+", re.IGNORECASE
)
"""Links and marks that lead to nothing any more, once something has been taken out."""
TRAILING = re.compile(r"(?:\s*[,;:]|\s+(?:and|or|but|with|while|as|then|in))+\s*(?=[.]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Picture:
    """`scene`: the prompt without the rest, "" where nothing remains."""

    scene: str
    camera: tuple[str, ...] = ()
    style: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


class Cut(NamedTuple):
    kind: str
    begin: int
    end: int
    """Indices of tokens, the end exclusive."""
    said: str


class PictureReader:
    """Splits prompts with one spaCy pipeline."""

    def __init__(self, spacy: Language) -> None:
        self._spacy = spacy
        self._spans = tuple(_data()["span"])
        self._matcher: Matcher = import_module("spacy.matcher").Matcher(spacy.vocab)
        for number, span in enumerate(self._spans):
            self._matcher.add(str(number), [span["pattern"]], greedy="LONGEST")

    def read(self, text: str) -> tuple[Picture, Doc]:
        """The prompt taken apart, and the parse of its scene."""
        plain, options = strip_markup(text)
        doc = self._spacy(plain)
        cuts = sorted(_keep_disjoint([*self._match(doc), *_fragments(doc)]), key=lambda cut: cut.begin)
        if not cuts:
            return Picture(plain, style=options), doc
        kept = "".join(
            token.text_with_ws
            for token in doc
            if not any(cut.begin <= token.i < cut.end for cut in cuts)
        )  # fmt: skip
        told: dict[str, tuple[str, ...]] = {
            kind: tuple(dict.fromkeys(cut.said for cut in cuts if cut.kind == kind))
            for kind in ("camera", "style", "excluded")
        }
        scene = _tidy(kept)
        # What opened the prompt stood in lower case after "Drone shot of".
        return Picture(scene, told["camera"], told["style"] + options, told["excluded"]), self._spacy(scene)

    def _match(self, doc: Doc) -> Iterator[Cut]:
        for key, begin, end in self._matcher(doc):
            span = self._spans[int(doc.vocab.strings[key])]
            before = doc[begin - 1] if begin else None
            if span.get("opens") and not (
                before is None or before.text in word_list("clause_marks") or before.is_sent_end
            ):
                continue
            if span.get("free") and before is not None and before.pos_ == "ADP":
                continue
            while doc[end - 1].pos_ == "DET" and end > begin + 1:
                end -= 1  # it is of what follows
            if span["kind"] == "excluded":
                end -= _ends_in_verb(doc[begin:end])
                for thing in [span["is"]] if "is" in span else _things(doc[begin:end]):
                    yield Cut("excluded", begin, end, thing)
            else:
                yield Cut(span["kind"], begin, end, _trim(doc[begin:end].text))


def strip_markup(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without emoji, stress marks, options and hashtags; and the options.  Shouting is lowered."""
    options = tuple(match.group().strip() for match in FLAG.finditer(text))
    text = TAGGED.sub(r"\1 \2", FLAG.sub(" ", text))
    text = WEIGHT.sub(lambda match: match.group(1), text) if WEIGHT.search(text) else text
    text = "".join(" " if unicodedata.category(c) in ("So", "Sk", "Cs", "Cf", "Mn", "Me") else c for c in text)
    text = re.sub(r"(\b\d+[^\W\d_]+)(?=[.!?](?:\s|$))", r"\1 ", text.replace("#", " "))  # "4K." is one token to spaCy
    letters = [c for c in text if c.isalpha()]
    if letters and sum(c.isupper() for c in letters) > 0.6 * len(letters):
        text = text.lower()
    return " ".join(text.split()), options


def _fragments(doc: Doc) -> Iterator[Cut]:
    """The fragments between marks that say nothing but how it looks."""
    bounds = [-1, *(token.i for token in doc if token.text in word_list("clause_marks") or token.is_space), len(doc)]
    spans = [doc[begin + 1 : end] for begin, end in pairwise(bounds) if end > begin + 1]
    kinds = _with_tails(spans, [_kind(span) for span in spans])
    for number, span in enumerate(spans):
        kind = kinds[number]
        opens = number == 0 or doc[span.start - 1].text in (".", "!", "?")
        beside = any(kinds[n] in ("style", "camera") for n in (number - 1, number + 1) if 0 <= n < len(spans))
        last = all(later != "scene" for later in kinds[number:])
        if last and (
            (kind == "describing" and (opens or beside)) or (kind == "name" and not opens and "scene" in kinds[:number])
        ):
            kind = "style"
        if kind in ("style", "camera"):
            yield Cut(kind, span.start, span.end, span.text)


def _with_tails(spans: Sequence[Span], kinds: Sequence[str]) -> list[str]:
    """The kinds; of a later sentence that only lists, and tells of style, all is style that is nothing to be seen.

    "A dog runs. Neon, moody." has no neon.
    """
    told = list(kinds)
    for sentence, group in groupby(range(len(spans)), key=lambda number: spans[number][0].sent.start):
        numbers = list(group)
        lists = all(
            token.pos_ not in ("DET", "ADP") and token.tag_ not in FINITE for n in numbers for token in spans[n]
        )
        if sentence and lists and any(kinds[n] in ("style", "camera") for n in numbers):
            told = ["style" if n in numbers and not _is_seen(spans[n], kind) else kind for n, kind in enumerate(told)]
    return told


def _is_seen(span: Span, kind: str) -> bool:
    scenic = any(lexicon().is_in(of, token.lower_) for of in ("place", "time") for token in span)
    return kind == "camera" or scenic or known(span.text) is not None


def _kind(span: Span) -> str:
    """scene; style or camera; describing: adjectives alone, which are of what stands beside them; or name: of somebody
    unheard of, in whose style it is."""
    words = _data()["words"]
    if span.start == 0 and span.end == len(span.doc) and any(token.pos_ == "ADP" for token in span):
        return "scene"  # "scenes of romantic film" alone is about something
    first = next((token.i for token in span if token.pos_ == "ADP"), 0)
    if span.start == 0 and first and known(span.doc[:first].text) is not None:
        return "scene"  # "subway car at rush hour"
    whole = span.text.lower().replace(" ", "")
    if _is_mark(whole):
        return "style"  # "4 K" are two tokens
    content = [token for token in span if token.pos_ not in SMALL_WORDS and token.pos_ != "DET"]
    if not content:
        return "scene"
    spelled = [token.lower_ for token in content]
    named = [word for word in spelled if not re.fullmatch(r"[\d.:/]+\w{0,2}", word)]
    if not named:
        return "scene"
    articles = [token for token in span if token.pos_ == "DET" or (token.tag_ == "CD" and token.is_alpha)]
    clause = any(
        token.tag_ in ("VBZ", "VBP", "VBD") and token.pos_ == "VERB" and token.i > span.start for token in span
    )
    looks = [word in words["nouns"] or word in words["marks"] or _is_mark(word) for word in spelled]
    head = named[-1] in words["nouns"] or named[-1] in words["marks"] or _is_mark(named[-1])
    described = all(
        look or token.pos_ in ("ADJ", "ADV", "NUM", "VERB", "X") or _describes(token, span)
        for look, token in zip(looks, content, strict=True)
    )
    if spelled[0].endswith("ing") and lexicon().verb_form(spelled[0]) in lexicon().verbs and not looks[0]:
        return "scene"  # "…, trailing white smoke"
    if head and described and not articles and not clause:
        return "camera" if any(word in words["camera"] for word in spelled) else "style"
    if len(spelled) == 1 and known(spelled[0]) is not None:
        return "scene"
    if all(
        token.pos_ in ("ADJ", "ADV") or token.tag_ in ("VBN", "VBG") or _is_adjective(token) for token in content
    ) or (any(looks) and not clause and all(looks)):
        marked = any(word in words["marks"] for word in spelled) or spelled[-1] in ("detailed", "realistic", "lit")
        return "style" if marked else "describing"
    if not articles and not any(senses(singular(word)) or known(word) or lexicon().verb_form(word) for word in named):
        return "name"
    return "scene"


def _describes(token: Token, span: Span) -> bool:
    """Whether a noun stands before the fragment's head: "film grain", "teal and orange grade"."""
    return token.pos_ in ("NOUN", "PROPN") and token.i < span.end - 1 and span[-1].pos_ not in ("ADP",)


def _is_adjective(token: Token) -> bool:
    """Whether it can be no noun, though the tagger takes it for one: "breathtaking" by itself."""
    return bool(senses(token.lower_, "adjective")) and not senses(token.lower_)


def _is_mark(word: str) -> bool:
    return re.fullmatch(r"(?:\d+(?:mm|k|fps|p|mp|bit)|f/?\d[\d.]*|\d+:\d+)+", word) is not None


def _things(span: Span) -> list[str]:
    """The nouns of an exclusion: of "with no cars" it is "cars"."""
    begin = max((n for n, token in enumerate(span) if token.lower_ in word_list("negators")), default=0)
    named = [t for t in span[begin:] if t.pos_ in ("NOUN", "PROPN", "ADJ") and t.lower_ not in word_list("negators")]
    named = [t for t in named if t.lower_ not in ("sight", "all")]
    while named and named[-1].pos_ == "ADJ":
        named.pop()  # "no stars visible"
    return [" ".join(t.text for t in named)] if named else []


def _ends_in_verb(span: Span) -> bool:
    """Whether the last of two nouns is the verb of what went before: "a horse without a rider gallops"."""
    last, before = span[-1], span[-2]
    return last.tag_ == "NNS" and before.tag_ == "NN" and lexicon().verb_form(last.lower_) is not None


def _trim(said: str) -> str:
    return re.sub(r"\s+(?:of|on|to|at|the|from|showing|following|with|featuring)$", "", said)


def _keep_disjoint(cuts: Sequence[Cut]) -> list[Cut]:
    """The longest first; those that overlap it are dropped, but for others of the very same words."""
    kept: list[Cut] = []
    for cut in sorted(cuts, key=lambda cut: (cut.begin - cut.end, cut.kind != "excluded")):
        if all(
            cut.end <= k.begin or cut.begin >= k.end or (cut.begin, cut.end, cut.kind) == (k.begin, k.end, k.kind)
            for k in kept
        ):
            kept.append(cut)
    return kept


def _tidy(text: str) -> str:
    text = re.sub(r"\s+([,.;:!?])", r"\1", text)
    text = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)
    text = re.sub(r"[,;:]+\s*([.!?])", r"\1", text)
    text = re.sub(r"([.!?])(?:\s*[.,;:!?])+", r"\1", text)
    text = LEFT_OVER.sub(" ", text)
    text = TRAILING.sub("", text)
    text = " ".join(text.split()).strip(" ,;:-–—|")
    return text if any(c.isalpha() for c in text) else ""


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath("picture.toml").read_text(encoding="utf-8"))
