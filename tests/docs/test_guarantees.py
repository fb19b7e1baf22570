"""The tests that the guarantees name are there."""

from __future__ import annotations

import re

import pytest

from docs.documents import PROJECT

TEXTS = ["docs/GUARANTEES.md", "docs/ARCHITECTURE-WAL.md"]
PYTHON = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
CPP = re.compile(r"`(cpp/tests/[\w/]+\.cpp)`(?:: ((?:\"[^\"]+\"(?:, )?)+))?")


@pytest.mark.parametrize("document", TEXTS)
def test_every_test_that_is_named_is_there(document: str) -> None:
    text = (PROJECT / document).read_text()
    named = [(path, [name] if name else []) for path, name in PYTHON.findall(text)]
    named += [(path, re.findall(r"\"([^\"]+)\"", names)) for path, names in CPP.findall(text)]
    missing = []
    for path, names in named:
        source = PROJECT / path
        # A long name goes over several lines.
        code = re.sub(r'"\s*\n\s*"', "", source.read_text()) if source.exists() else ""
        wanted = [f"def {name}(" if path.endswith(".py") else f'"{name}"' for name in names]
        missing += [f"{path}: {one}" for one in wanted if one not in code]
        missing += [] if code else [path]
    assert missing == []
    assert document != TEXTS[0] or sum(len(names) for _, names in named) > 15
