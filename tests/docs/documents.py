"""The documents: their code, what they say it prints, their links and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line that it starts on, and the output below."""

    language: str
    code: str
    line: int
    output: str | None = None


def blocks(path: Path, language: str) -> list[Block]:
    """The blocks of one language; a ``text`` block right below one is what it prints."""
    text = path.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    out = []
    for number, match in enumerate(found):
        if match[1] != language:
            continue
        output = None
        if number + 1 < len(found):
            below = found[number + 1]
            between = text[match.end() : below.start()]
            if below[1] == "text" and not between.strip():
                output = below[2]
        line = text.count("\n", 0, match.start(2)) + 1
        out.append(Block(language, match[2], line, output))
    return out


def commands(path: Path) -> Iterator[Block]:
    """The commands of ``console`` blocks, one at a time, with the output that follows them."""
    for block in blocks(path, "console"):
        parts = re.split(r"^\$ ", block.code, flags=re.M)[1:]
        line = block.line
        for part in parts:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command += "\n" + more
            yield Block("console", command, line, output or None)
            line += part.count("\n")


def links(path: Path) -> set[str]:
    """The targets of links and pictures, without those that leave the project."""
    found = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    return {target for target in found if "://" not in target}


def anchors(path: Path) -> set[str]:
    """What a link into a document may name: its headings."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    plain = (re.sub(r"[^\w\- ]", "", head.lower()) for head in heads)
    return {head.replace(" ", "-") for head in plain}


def rows(path: Path, *head: str) -> list[list[str]]:
    """The cells of the tables that have this header."""
    wanted = f"| {' | '.join(head)} |"
    out: list[list[str]] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line == wanted:
            for row in lines[number + 2 :]:
                if not row.startswith("|"):
                    break
                out.append([cell.strip() for cell in row.strip("|").split("|")])
    return out
