"""Find out a file's encoding, in the order of R10, before anything of it is read as text."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from services.importer.errors import EmptyFileError, EncodingInvalidError

OpenBytes = Callable[[], BinaryIO]
_CHUNK_BYTES = 1024 * 1024
_SAMPLE_BYTES = 4096
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UTF_32_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UNDECODABLE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Decoding:
    """How to read a file's bytes as text. An undecodable byte reads as a lone surrogate, for its row to be rejected."""

    encoding: str
    bom_bytes: int = 0
    guessed: bool = False

    def open_text(self, open_bytes: OpenBytes) -> io.TextIOWrapper:
        """Open the file as text behind its mark, line ends untouched."""
        raw = open_bytes()
        raw.read(self.bom_bytes)
        return io.TextIOWrapper(raw, encoding=self.encoding, errors="surrogateescape", newline="")


def find_decoding(open_bytes: OpenBytes, *, strict_encoding: bool) -> Decoding:
    """Read the whole file once to learn how to decode it.

    EmptyFileError for zero bytes (a mark counts for none); EncodingInvalidError for broken UTF-16, for UTF-32, or
    for a guess when `strict_encoding`.
    """
    with open_bytes() as raw:
        sample = raw.read(_SAMPLE_BYTES)
    if sample.startswith(_UTF_32_BOMS):  # the little-endian one begins like that of UTF-16
        raise EncodingInvalidError
    decoding = _by_sample(sample) or _by_content(open_bytes)
    if len(sample) == decoding.bom_bytes:
        raise EmptyFileError
    if decoding.encoding.startswith("utf-16") and not _decodes(open_bytes, decoding):
        raise EncodingInvalidError
    if decoding.guessed and strict_encoding:
        raise EncodingInvalidError
    return decoding


def _by_sample(sample: bytes) -> Decoding | None:
    for bom, encoding in _BOMS:
        if sample.startswith(bom):
            return Decoding(encoding, len(bom))
    even, odd = sample[0::2], sample[1::2]
    if even.count(0) * 2 > len(even):
        return Decoding("utf-16-be", guessed=True)
    if odd.count(0) * 2 > len(odd):
        return Decoding("utf-16-le", guessed=True)
    return None


def _by_content(open_bytes: OpenBytes) -> Decoding:
    if _decodes(open_bytes, Decoding("utf-8")):
        return Decoding("utf-8")
    valid = invalid = 0
    for text in _decoded(open_bytes, Decoding("utf-8"), errors="surrogateescape"):
        broken = len(_UNDECODABLE.findall(text))
        invalid += broken
        valid += len(text) - len(text.encode("ascii", "ignore")) - broken
    return Decoding("utf-8" if valid > invalid else "cp1252", guessed=True)


def _decodes(open_bytes: OpenBytes, decoding: Decoding) -> bool:
    try:
        for _ in _decoded(open_bytes, decoding, errors="strict"):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _decoded(open_bytes: OpenBytes, decoding: Decoding, *, errors: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(decoding.encoding)(errors)
    with open_bytes() as raw:
        raw.read(decoding.bom_bytes)
        while chunk := raw.read(_CHUNK_BYTES):
            yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)
