"""Prolog as far as facts and rules go: `p(a, 'B c').` and `p(X, Y) :- q(X, Z), r(Z, Y).`

Comments (% and /* */), directives (`:- ...`), quoted atoms with '' or \\' inside, numbers and variables are read.
Facts of two arguments become triples; others are counted by name and arity. Rules with more in their body than calls
between commas (a negation, a comparison, a cut) are passed over with a name for it.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corollary.errors import InputError
from corollary.storage import new_file

_TOKEN = re.compile(
    r"(?P<blank>\s+|%[^\n]*|/\*.*?\*/)"
    r"|(?P<quoted>'(?:[^'\\\n]|''|\\.)*')"
    r"|(?P<text>\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<variable>[A-Z_]\w*)"
    r"|(?P<word>[a-z]\w*)"
    r"|(?P<sign>:-|\?-|=\.\.|[(),.\[\]{}|;!]|[-+*/\\^<>=~:?@#&]+)",
    re.DOTALL,
)

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_NEGATION, _COMPARISON = "a negation", "a comparison"
_CONSTRUCTS = {
    "\\+": _NEGATION, ";": "an alternative (;)", "|": "an alternative (;)", "!": "a cut (!)", "->": "a condition (->)",
    "[": "a list", "{": "a constraint",
}  # fmt: skip


@dataclass(frozen=True)
class Term:
    """An argument: an atom or a number as text, or a variable."""

    text: str
    variable: bool = False


@dataclass(frozen=True)
class Call:
    """name(arguments)."""

    name: str
    arguments: tuple[Term, ...]


@dataclass(frozen=True)
class Sentence:
    """A fact (no body), or a rule; the line it begins in."""

    head: Call
    body: tuple[Call, ...]
    line: int
    passed_over: str | None = None
    """What the body has besides calls, such as `a negation`; then `body` is empty."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


def sentences(path: Path) -> Iterator[Sentence]:
    """All facts and rules of a file; directives are passed over.

    Raises `InputError` with file and line for what is no such sentence, such as one without its full stop.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    reader = _Reader(path, list(_tokens(path, text)))
    while not reader.at_end:
        if (sentence := reader.sentence()) is not None:
            yield sentence


def facts_as_table(path: Path, table: Path) -> Counter[str]:
    """Write the facts of two arguments as head, relation, tail between tabs, and count what was left out by
    name/arity; rules count as `rules`.

    Raises `InputError` for a fact with a variable, and for a name with a tab.
    """
    left_out: Counter[str] = Counter()
    with new_file(table) as partial, partial.open("w", encoding="utf-8") as file:
        for sentence in sentences(path):
            call = sentence.head
            if sentence.body or sentence.passed_over:
                left_out["rules"] += 1
                continue
            if len(call.arguments) != 2:
                left_out[f"{call.name}/{len(call.arguments)}"] += 1
                continue
            if any(term.variable for term in call.arguments):
                raise InputError(f"{path}:{sentence.line}: a fact holds no variable, and {call.name} has one")
            parts = [call.arguments[0].text, call.name, call.arguments[1].text]
            if any(re.search(r"[\t\n\r]", part) for part in parts):
                raise InputError(f"{path}:{sentence.line}: a name holds a tab or a line break")
            file.write("\t".join(parts) + "\n")
    return left_out


def _tokens(path: Path, text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        opens = found is not None and found.lastgroup == "sign" and text.startswith("/*", at)
        if found is None or opens:
            what = "a quote is not closed" if text[at] in "'\"" else f"{text[at]!r} is out of place"
            what = "a comment is not closed" if text.startswith("/*", at) else what
            raise InputError(f"{path}:{line}: {what}")
        kind = str(found.lastgroup)
        if kind != "blank":
            yield _Token(kind, found[0], line)
        line += found[0].count("\n")
        at = found.end()


class _Reader:
    """Sentences out of tokens."""

    def __init__(self, path: Path, tokens: list[_Token]) -> None:
        self._path, self._tokens, self._at = path, tokens, 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._tokens)

    def sentence(self) -> Sentence | None:
        """The next one; None for a directive."""
        line = self._tokens[self._at].line
        if self._tokens[self._at].text in (":-", "?-"):
            while self._next(line).text != ".":
                pass
            return None
        head, body = self._call(line), []
        sign = self._next(line)
        if sign.text == ":-":
            start = self._at
            if (other := self._other(line)) is not None:
                return Sentence(head, (), line, other)
            self._at = start
            body.append(self._call(line))
            while (sign := self._next(line)).text == ",":
                body.append(self._call(line))
        if sign.text != ".":
            raise InputError(f"{self._path}:{sign.line}: expected a full stop before {sign.text!r}")
        return Sentence(head, tuple(body), line)

    def _other(self, line: int) -> str | None:
        """The first thing in a body that is neither call nor comma, by name; the reader then stands behind the sentence.

        Raises `InputError` where the sentence has no end or its brackets do not match.
        """
        found, opened = None, list[str]()
        while (token := self._next(line)).text != ".":
            found = found or self._construct(token, nested=bool(opened))
            if token.text in _CLOSING:
                opened.append(_CLOSING[token.text])
            elif token.text in _CLOSING.values() and (not opened or opened.pop() != token.text):
                raise InputError(f"{self._path}:{token.line}: {token.text!r} closes no bracket")
            elif token.text == ":-":
                raise InputError(f"{self._path}:{token.line}: expected a full stop before ':-'")
        if opened:
            raise InputError(f"{self._path}:{token.line}: expected {opened[-1]!r} before the full stop")
        return found

    def _construct(self, token: _Token, *, nested: bool) -> str | None:
        """What the token that was read last begins or stands for, where it is more than a call."""
        before, after = (self._tokens[at : at + 1] for at in (self._at - 2, self._at))
        if token.text == "(":
            named = before[0].kind in ("word", "quoted")
            return "a term with arguments" if nested and named else None if named else "a group in brackets"
        if token.text == "not" and after and (after[0].text == "(" or after[0].kind == "word"):
            return _NEGATION
        if token.text == "is" and before[0].kind in ("variable", "number"):
            return _COMPARISON
        if token.kind == "sign" and set(token.text) & set("<>=") and token.text not in _CONSTRUCTS:
            return _COMPARISON
        return _CONSTRUCTS.get(token.text)

    def _call(self, line: int) -> Call:
        name = self._next(line)
        if name.kind not in ("word", "quoted"):
            raise InputError(
                f"{self._path}:{name.line}: expected the name of a predicate, found {name.text!r}"
            )
        if self.at_end or self._tokens[self._at].text != "(":
            return Call(_value(name), ())
        self._next(line)
        arguments = [self._term(line)]
        while (sign := self._next(line)).text == ",":
            arguments.append(self._term(line))
        if sign.text != ")":
            raise InputError(f"{self._path}:{sign.line}: expected a closing bracket before {sign.text!r}")
        return Call(_value(name), tuple(arguments))

    def _term(self, line: int) -> Term:
        token = self._next(line)
        if token.kind == "variable":
            return Term(token.text, variable=True)
        if token.kind in ("word", "quoted", "text", "number"):
            return Term(_value(token))
        raise InputError(f"{self._path}:{token.line}: expected a name, found {token.text!r}")

    def _next(self, line: int) -> _Token:
        if self.at_end:
            raise InputError(f"{self._path}:{line}: the sentence that begins here has no end")
        self._at += 1
        return self._tokens[self._at - 1]


def _value(token: _Token) -> str:
    if token.kind not in ("quoted", "text"):
        return token.text
    inner = token.text[1:-1].replace("''", "'")
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), inner)
