"""Cut lists into pages: opaque keyset tokens that only the method and request they were made for accept."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from services.directory.rules.errors import InvalidArgument, InvalidPageToken

DEFAULT_SIZE = 100
MOST = 1000
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Page:
    """One page to read: `limit` items past `after`, the key of the previous page's last item (its start if first).

    Read one item more than a page holds, which is what `limit` says, and let `cut` take it off again.
    """

    after: tuple[Any, ...]
    size: int
    stamp: str

    @property
    def limit(self) -> int:
        """How many items to read: one more than the page holds, to know whether there is another page."""
        return self.size + 1

    def cut(self, items: Sequence[_Item], key: Callable[[_Item], tuple[int | str, ...]]) -> tuple[Sequence[_Item], str]:
        """Give the page's items, and the token of the next page or ""."""
        if len(items) <= self.size:
            return items, ""
        kept = items[: self.size]
        text = json.dumps([self.stamp, *key(kept[-1])])
        return kept, base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def page_of(request: Any, *, start: tuple[int | str, ...] = (0,)) -> Page:
    """Read which page a request asks for; `start` is the key before the first item, and tells the types of its parts.

    Errors: InvalidArgument (page_size), InvalidPageToken.
    """
    if request.page_size < 0:
        raise InvalidArgument([("page_size", "must be at least 0")])
    size = min(request.page_size or DEFAULT_SIZE, MOST)
    stamp = _stamp(request)
    return Page(_key(request.page_token, stamp, start) if request.page_token else start, size, stamp)


def _stamp(request: Message) -> str:
    """Hash all that must stay the same from page to page: the method's request without its page."""
    rest = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("page_size")
    rest.ClearField("page_token")
    body = rest.SerializeToString(deterministic=True)
    return hashlib.blake2b(request.DESCRIPTOR.full_name.encode() + b"\0" + body, digest_size=9).hexdigest()


def _key(token: str, stamp: str, start: tuple[int | str, ...]) -> tuple[int | str, ...]:
    try:
        padded = token + "=" * (-len(token) % 4)
        made_for, *key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise InvalidPageToken from None
    is_one = len(key) == len(start) and all(type(part) is type(like) for part, like in zip(key, start, strict=True))
    if made_for != stamp or not is_one or any(isinstance(part, int) and abs(part) >= 2**63 for part in key):
        raise InvalidPageToken
    return tuple(key)
