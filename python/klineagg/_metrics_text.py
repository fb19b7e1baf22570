"""The OpenMetrics text format, which Prometheus and others read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isnan
from typing import Final

from klineagg._options import invalid

__all__ = ["Labels", "MetricsText", "Sample"]

_LABEL: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")

Labels = Mapping[str, object]
#: What follows the name, labels, value.
Sample = tuple[str, Labels, float]


class MetricsText:
    """Families of samples, one after the other, each with its type, unit and help."""

    def __init__(self, labels: Labels) -> None:
        for name in labels:
            if not _LABEL.fullmatch(name):
                wanted = "labels whose names are of letters, digits and _"
                raise invalid("labels", name, wanted)
        self._labels = labels
        self._lines: list[str] = []

    def family(
        self, name: str, kind: str, text: str, samples: Iterable[Sample], unit: str = ""
    ) -> None:
        """``samples``: what follows the name, labels, value."""
        name = f"klineagg_{name}"
        self._lines.append(f"# TYPE {name} {kind}")
        if unit:
            self._lines.append(f"# UNIT {name} {unit}")
        self._lines.append(f"# HELP {name} {text}")
        for suffix, labels, value in samples:
            self._lines.append(f"{name}{suffix}{self._told(labels)} {_number(value)}")

    def end(self) -> str:
        """All of it."""
        return "\n".join([*self._lines, "# EOF", ""])

    def _told(self, labels: Labels) -> str:
        pairs = {**self._labels, **labels}.items()
        told = ",".join(f'{name}="{_escaped(str(value))}"' for name, value in pairs)
        return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "NaN" if isnan(value) else repr(value)
