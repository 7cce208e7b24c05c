"""Random values from botocore's shape models: valid as far as a model can say (required, limits, enums, patterns).

Seeded, so that a failure can be had again. Patterns are Java's; those that Python's parser does not read are first put in its words.
"""

import datetime
import functools
import random
import re
import re._constants as sre
import re._parser as sre_parser

# Unicode classes of Java's patterns, in characters that every one of AWS's frameworks takes.
_CLASSES = {"L": "a-zA-Z", "N": "0-9", "P": ".,:", "S": "+=", "M": "", "Z": " ", "Zs": " ", "ASCII": "a-z", "Print": "a-z"}
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:+=@ ,"
# Words that satisfy patterns which walking the pattern does not (lookaheads, overlong alternatives).
_WORDS = ["a", "oracle", "Oracle-1", "a1b2c3d4", "123456789012", "arn:aws:iam::123456789012:role/oracle", "us-east-1", "1.0"]
_WHEN = datetime.datetime(2024, 5, 17, 10, 11, 12, tzinfo=datetime.timezone.utc)
_LONGEST = 2_000


class Unsatisfiable(Exception):
    """No value for this pattern was found."""


@functools.cache
def _parsed(pattern):
    """The pattern in Python's words: compiled, and as the parser's tree."""

    def unicode_class(match):
        inside = _CLASSES.get(match[1], "")
        before = pattern[: match.start()]
        in_brackets = before.rfind("[") > before.rfind("]")
        return inside if in_brackets else f"[{inside}]"

    text = re.sub(r"\\p\{(\w+)\}", unicode_class, pattern)
    text = re.sub(r"\\u([0-9A-F]{4})", lambda m: re.escape(chr(int(m[1], 16))) if int(m[1], 16) < 0xD800 else "~", text)
    # A class such as `[\w-.]` has a plain hyphen.
    text = re.sub(r"\\([wd])-(?=[^\]])", r"\\\1\\-", text)
    return re.compile(text), sre_parser.parse(text)


def _from_class(items, rng):
    chosen = []
    negated = False
    for kind, value in items:
        if kind is sre.NEGATE:
            negated = True
        elif kind is sre.LITERAL:
            chosen.append(chr(value))
        elif kind is sre.RANGE:
            low, high = value
            chosen += [chr(code) for code in range(low, min(high, low + 200) + 1) if 0x20 <= code < 0x7F]
        elif kind is sre.CATEGORY:
            chosen += {
                sre.CATEGORY_DIGIT: "0123456789",
                sre.CATEGORY_SPACE: " ",
                sre.CATEGORY_WORD: "abcXYZ019_",
                sre.CATEGORY_NOT_SPACE: "abcXYZ019-",
                sre.CATEGORY_NOT_DIGIT: "abcXYZ-",
                sre.CATEGORY_NOT_WORD: "-.",
            }.get(value, "a")
    if negated:
        chosen = [char for char in _ALPHABET if char not in chosen]
    plain = [char for char in chosen if char.isalnum()]
    return rng.choice(plain if plain and rng.random() < 0.9 else chosen or ["a"])


def _walk(tree, rng, stretch, groups):
    out = []
    for kind, value in tree:
        if kind is sre.LITERAL:
            out.append(chr(value))
        elif kind is sre.NOT_LITERAL:
            out.append("b" if value == ord("a") else "a")
        elif kind is sre.ANY:
            out.append(rng.choice("abcxyz019"))
        elif kind is sre.IN:
            out.append(_from_class(value, rng))
        elif kind is sre.BRANCH:
            out.append(_walk(rng.choice(value[1]), rng, stretch, groups))
        elif kind is sre.SUBPATTERN:
            inner = _walk(value[3], rng, stretch, groups)
            groups[value[0]] = inner
            out.append(inner)
        elif kind is sre.GROUPREF:
            out.append(groups.get(value, ""))
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            low, high, inner = value
            count = min(high, max(low, min(low + stretch, _LONGEST)))
            out += [_walk(inner, rng, stretch, groups) for _ in range(count)]
        elif kind is sre.ATOMIC_GROUP:
            out.append(_walk(value, rng, stretch, groups))
        # Anchors and lookarounds add nothing; the finished text is checked against them.
    return "".join(out)


def matching(pattern, low, high, rng):
    """A text of `low` to `high` characters that matches the whole pattern."""
    compiled, tree = _parsed(pattern)
    for stretch in (rng.randint(0, 6), 1, 0, 3, 8, low - 1, low, low // 2, 15, 20, 31, 36, 64, 128, 2, 5, 10, 12):
        for _ in range(4):
            text = _walk(tree, rng, stretch, {})
            if low <= len(text) <= high and compiled.fullmatch(text) and text.strip() == text:
                return text
    for text in _WORDS:
        if low <= len(text) <= high and compiled.fullmatch(text):
            return text
    raise Unsatisfiable(pattern)


class Values:
    """A generator of parameters; `fixed` names members that have one value wherever they occur, `left_out` those never set."""

    def __init__(self, seed, fixed=(), left_out=()):
        self.rng = random.Random(seed)
        self.fixed = dict(fixed)
        self.left_out = set(left_out)

    def parameters(self, operation):
        return self.structure(operation.input_shape, ()) if operation.input_shape else {}

    def structure(self, shape, above):
        # botocore does not mark DynamoDB's values as the union that they are.
        is_union = getattr(shape, "is_tagged_union", False) or (shape.name == "AttributeValue" and "NULL" in shape.members)
        names = list(shape.members)
        if is_union:
            names = [self.rng.choice([n for n in names if not self.recurs(shape.members[n], above)] or names)]
        out = {}
        for name in names:
            member = shape.members[name]
            # botocore makes up idempotency tokens that are left out.
            fixed = self.fixed.get(name) if member.type_name != "structure" else None
            required = name in shape.required_members or is_union or "idempotencyToken" in member.metadata or fixed
            wanted = required or (
                name not in self.left_out
                and not self.recurs(member, above)
                and self.rng.random() < (0.75, 0.5, 0.3, 0.15, 0.1)[min(len(above), 4)]
            )
            if not wanted:
                continue
            try:
                out[name] = fixed or self.value(member, (*above, shape.name), name)
            except Unsatisfiable:
                if required:
                    raise
        if not out and above:
            self.fill(shape, above, out)
        return out

    def fill(self, shape, above, out):
        """Puts one member into an empty structure: forms cannot tell that from an absent one."""
        for name, member in shape.members.items():
            if name not in self.left_out and not self.recurs(member, above):
                out[name] = self.value(member, (*above, shape.name), name)
                return

    def recurs(self, shape, above):
        while shape.type_name == "list":
            shape = shape.member
        return shape.name in above or len(above) > 6

    def value(self, shape, above, name=""):
        if getattr(shape, "is_document_type", False):
            return {"answer": 42, "list": [True, None, "text"]}
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, above)
        low, high = int(shape.metadata.get("min", 0)), shape.metadata.get("max")
        if kind == "list":
            count = max(low, 1 if self.rng.random() < 0.6 else 2)
            count = min(count, int(high)) if high is not None else count
            return [self.value(shape.member, above) for _ in range(count)]
        if kind == "map":
            count = max(low, 1)
            # Enum keys can run out.
            return {self.value(shape.key, above): self.value(shape.value, above) for _ in range(count)}
        if kind == "string":
            return self.text(shape, max(low, 1), max(low, 1) + 20 if high is None else int(high))
        if kind == "blob":
            count = max(low, 3)
            return b"blob"[:1] * min(count, int(high)) if high is not None else b"b" * count
        if kind == "boolean":
            return self.rng.random() < 0.5
        if kind == "timestamp":
            return _WHEN
        return self.number(shape, kind)

    def number(self, shape, kind):
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if kind in ("float", "double"):
            low = 0.0 if low is None else float(low)
            high = low + 100 if high is None else float(high)
            return round(self.rng.uniform(low, high), 2) if high - low > 1 else low
        widest = {"integer": 2**31 - 1, "long": 2**62, "short": 2**15 - 1, "byte": 127}.get(kind, 1000)
        low = 0 if low is None else int(float(low))
        high = min(widest, low + 1000 if high is None else int(float(high)))
        return self.rng.randint(low, max(low, high))

    def text(self, shape, low, high):
        if shape.enum:
            return self.rng.choice(shape.enum)
        pattern = shape.metadata.get("pattern")
        if pattern:
            high = max(low, min(int(shape.metadata.get("max", _LONGEST)), _LONGEST))
            return matching(pattern, low, high, self.rng)
        count = self.rng.randint(low, min(high, low + 12))
        return "".join(self.rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(count))
