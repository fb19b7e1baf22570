# The part of klineagg._core that reads CSV; there is no module of this name.
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from typing_extensions import Buffer

class CsvParser:
    def __init__(
        self,
        columns: Sequence[tuple[int, str]],  # position of a field, its role
        *,
        field_count: int,
        delimiter: str = ",",
        header: bool = False,
        unit: str = "detect",
        side: str = "taker",
        count_faults: bool = False,
        line_bytes_max: int = 65536,
    ) -> None: ...
    def feed(self, data: Buffer) -> None: ...
    def finish(self) -> None: ...
    def take(self) -> tuple[int, dict[str, NDArray[Any]], int, list[tuple[int, int]]]: ...
    def symbols(self, start: int = 0) -> list[str]: ...
    def conditions(self, start: int = 0) -> list[str]: ...
    def faults(self) -> dict[str, int]: ...
    def samples(self) -> list[tuple[str, int, str, str]]: ...  # reason, line, column, excerpt
    def rows(self) -> int: ...

def parse_iso_time(text: str) -> int | None: ...
