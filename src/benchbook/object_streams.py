"""A PDF in fewer bytes: what stands in it as plain text (of a tagged book nearly half) goes into compressed streams."""

from __future__ import annotations

import re
import struct
import zlib
from itertools import pairwise

TABLE = re.compile(rb"xref\s+0 \d+\s+(.*?)trailer\s*<<(.*)>>\s*startxref", re.DOTALL)
ENTRY = re.compile(rb"(\d{10}) \d{5} ([nf])")
GROUP = 200  # objects in one stream: a reader unpacks all of them to see one
FREE, PLAIN, PACKED = range(3)


def packed(pdf: bytes) -> bytes:
    """The same document with object streams, as PDF 1.5 has them; one that is written in another way, as it is."""
    start = re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", pdf[-64:])
    table = start and TABLE.match(pdf, int(start[1]))
    if not table:
        return pdf
    places = [int(entry[1]) if entry[2] == b"n" else 0 for entry in ENTRY.finditer(table[1])]
    ends = dict(pairwise([*sorted(filter(None, places)), table.start()]))
    bodies = {n: pdf[place : ends[place]] for n, place in enumerate(places) if place}
    target = bytearray(pdf[: min(ends)])
    index = {0: struct.pack(">BIH", FREE, 0, 0xFFFF)}
    plain = {}
    for number, body in bodies.items():
        if body.rstrip().endswith(b"endstream\nendobj"):
            index[number] = struct.pack(">BIH", PLAIN, len(target), 0)
            target += body
        else:
            plain[number] = re.sub(rb"^\d+ 0 obj\s*|\s*endobj\s*$", b"", body)
    numbers, size = sorted(plain), len(places)
    for first in range(0, len(numbers), GROUP):
        group = numbers[first : first + GROUP]
        index |= {number: struct.pack(">BIH", PACKED, size, place) for place, number in enumerate(group)}
        index[size] = struct.pack(">BIH", PLAIN, len(target), 0)
        target += _group(size, {number: plain[number] for number in group})
        size += 1
    rest = re.sub(rb"/Size \d+", b"", table[2]).strip()
    end = len(target)
    index[size] = struct.pack(">BIH", PLAIN, end, 0)
    lines = b"".join(index.get(number, struct.pack(">BIH", FREE, 0, 0)) for number in range(size + 1))
    target += _stream(size, b"/Type /XRef /Size %d /W [1 4 2] %s" % (size + 1, rest), lines)
    return bytes(target) + b"startxref\n%d\n%%%%EOF\n" % end


def _group(number: int, objects: dict[int, bytes]) -> bytes:
    """Objects in one stream: first the number and the place of each, then one after the other."""
    heads, body = [], b""
    for inner, text in objects.items():
        heads.append(b"%d %d" % (inner, len(body)))
        body += text + b"\n"
    head = b" ".join(heads) + b"\n"
    return _stream(number, b"/Type /ObjStm /N %d /First %d" % (len(objects), len(head)), head + body)


def _stream(number: int, entries: bytes, content: bytes) -> bytes:
    data = zlib.compress(content, 9)
    entries += b" /Filter /FlateDecode /Length %d" % len(data)
    return b"%d 0 obj\n<< %s >>\nstream\n%s\nendstream\nendobj\n" % (number, entries, data)
