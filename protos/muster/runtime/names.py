"""Make resource names from integers and back: `usr_…` with a check character, reversible, never a secret."""

from __future__ import annotations

from dataclasses import dataclass

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_CHECK = _ALPHABET + "ilou~"
_WIDTH = 5


class InvalidNameError(ValueError):
    """A text that is no resource name of the expected kind, or whose check character does not fit."""


def encode_id(prefix: str, number: int) -> str:
    """Write `number` (above 0) as `prefix_` + base 32 (Crockford) + one check character modulo 37."""
    digits = []
    rest = number
    while rest:
        rest, digit = divmod(rest, 32)
        digits.append(_ALPHABET[digit])
    text = "".join(reversed(digits)).rjust(_WIDTH, "0")
    return f"{prefix}_{text}{_CHECK[(number * 11 + _salt(prefix)) % 37]}"


def decode_id(prefix: str, text: str) -> int:
    """Read what `encode_id` wrote; `InvalidNameError` for anything else."""
    head, _, tail = text.partition("_")
    body, check = tail[:-1], tail[-1:]
    if head != prefix or len(body) < _WIDTH or len(body) > 13:
        raise InvalidNameError(text)
    number = 0
    for character in body:
        if character not in _VALUES:
            raise InvalidNameError(text)
        number = number * 32 + _VALUES[character]
    if number <= 0 or number >= 2**63 or check != _CHECK[(number * 11 + _salt(prefix)) % 37]:
        raise InvalidNameError(text)
    if encode_id(prefix, number) != text:
        raise InvalidNameError(text)
    return number


def _salt(prefix: str) -> int:
    """Make the same number of another kind have another check character."""
    return sum(map(ord, prefix))


@dataclass(frozen=True)
class NamePattern:
    """A resource name's shape, such as `tenants/{ten}/users/{usr}`: literals, and prefixes in braces."""

    pattern: str

    def format(self, *numbers: int) -> str:
        """Fill the braces from left to right."""
        values = iter(numbers)
        return "/".join(
            encode_id(part[1:-1], next(values)) if part.startswith("{") else part for part in self.pattern.split("/")
        )

    def parse(self, name: str) -> tuple[int, ...]:
        """Read the numbers back; `InvalidNameError` when the name has another shape."""
        parts, shape = name.split("/"), self.pattern.split("/")
        if len(parts) != len(shape):
            raise InvalidNameError(name)
        numbers = []
        for part, expected in zip(parts, shape, strict=True):
            if expected.startswith("{"):
                numbers.append(decode_id(expected[1:-1], part))
            elif part != expected:
                raise InvalidNameError(name)
        return tuple(numbers)
