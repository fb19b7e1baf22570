"""The notebooks run from top to bottom, and what they show is what they print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def read(path: Path) -> Any:
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(path, as_version=4)


def printed(cell: Any) -> list[str]:
    """What a cell shows as text; HTML and pictures say the same."""
    out: list[str] = []
    last = None
    for output in cell.outputs:
        # One print may come in several pieces, as the kernel happens to send them.
        before, last = last, output.get("name")
        if output.output_type == "stream" and before == output.name:
            out[-1] += output.text
        elif output.output_type == "stream":
            out.append(output.text)
        elif output.output_type in ("execute_result", "display_data"):
            out.append(output.data.get("text/plain", ""))
        else:
            out.append(output.output_type)
    return out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs_and_shows_what_it_prints(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ipykernel", "matplotlib", "pandas", "polars", "pyarrow"):
        pytest.importorskip(name)
    nbclient = pytest.importorskip("nbclient")
    for name in ("COLUMNS", "LINES"):  # the kernel would take its width from them
        monkeypatch.delenv(name, raising=False)
    # The kernel writes its connection file and caches where a test may write.
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    stored, run = read(path), read(path)
    client = nbclient.NotebookClient(
        run,
        timeout=240,
        startup_timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    cells = [
        cell for cell in zip(stored.cells, run.cells, strict=True) if cell[0].cell_type == "code"
    ]
    assert cells
    for was, now in cells:
        assert not [o for o in now.outputs if o.get("name") == "stderr"], now.source
        if "varies" in was.metadata.get("tags", ()):
            # Other packages decide how this looks; that there is something, and what kind, stays.
            assert {o.output_type for o in was.outputs} == {o.output_type for o in now.outputs}
        else:
            assert printed(was) == printed(now), now.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_as_it_was_run_from_top_to_bottom(path: Path) -> None:
    notebook = read(path)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert path.stat().st_size < 300_000


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["live-engine.ipynb", "quickstart.ipynb"]


def test_the_kernel_is_this_python() -> None:
    # Else the notebooks would run against another klineagg than the other tests.
    specs = pytest.importorskip("jupyter_client.kernelspec")
    pytest.importorskip("ipykernel")
    manager = specs.KernelSpecManager(ensure_native_kernel=True)
    program = manager.get_kernel_spec("python3").argv[0]
    assert Path(program).resolve() == Path(sys.executable).resolve() or program == "python"
