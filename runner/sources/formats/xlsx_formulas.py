"""Formulas of a sheet that have no stored result: a library reads them as empty cells."""

import re
from collections.abc import Iterator
from typing import BinaryIO
from xml.etree import ElementTree
from zipfile import ZipFile

_BLOCK_BYTES = 1 << 20
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_STRICT = "http://purl.oclc.org/ooxml/officeDocument/relationships"

# The start of a cell that is not closed at once, up to the end of its formula, if no value follows.
_UNCOMPUTED = re.compile(
    rb"""<(?:\w+:)?c\s([^<>]*)>            # the cell
         (?:<(?:\w+:)?f(?:\s[^<>]*)?/>|<(?:\w+:)?f(?:\s[^<>]*)?>[^<]*</(?:\w+:)?f>)\s*
         (?:<(?:\w+:)?v\s*/>\s*|<(?:\w+:)?v\s*>\s*</(?:\w+:)?v>\s*)?
         </(?:\w+:)?c>""",
    re.VERBOSE,
)
_REFERENCE = re.compile(rb"""\br=["']([A-Z]+)([0-9]+)["']""")
_IS_TEXT = re.compile(rb"""\bt=["']str["']""")


def find_uncomputed(file: BinaryIO, sheet: str) -> Iterator[tuple[int, str]]:
    """Yield (row, reference) of each formula of a sheet that has no stored result, in their order in the file.

    A formula whose result is the empty text has one. Raises the errors of `zipfile` and `ElementTree`.
    """
    with ZipFile(file) as archive, archive.open(_find_sheet(archive, sheet)) as stream:
        rest = b""
        while block := stream.read(_BLOCK_BYTES):
            text = rest + block
            end = text.rfind(b"row>") + 4
            if end < 4:
                rest = text
                continue
            for cell in _UNCOMPUTED.finditer(text, 0, end):
                reference = _REFERENCE.search(cell[1])
                if reference is not None and not _IS_TEXT.search(cell[1]):
                    yield int(reference[2]), (reference[1] + reference[2]).decode()
            rest = text[end:]


def column_number(reference: str) -> int:
    """Return the number of the column of a cell, such as 28 for AB7."""
    number = 0
    for letter in reference.rstrip("0123456789"):
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _find_sheet(archive: ZipFile, name: str) -> str:
    """Return the path of a sheet within a workbook."""
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - read by openpyxl already
    links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    for sheet in book.iter():
        if sheet.tag.endswith("}sheet") and sheet.get("name") == name:
            target = sheet.get(f"{{{_OFFICE}}}id") or sheet.get(f"{{{_STRICT}}}id")
            path = next(str(link.get("Target")) for link in links if link.get("Id") == target)
            return path.lstrip("/") if path.startswith("/") else f"xl/{path}"
    raise KeyError(name)
