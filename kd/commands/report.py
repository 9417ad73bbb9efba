"""``kd report``: one HTML page of a command's run, or of several side by side."""

import re
from collections.abc import Sequence
from pathlib import Path

from kd.commands.answer import Answer
from kd.config import ReportConfig
from kd.errors import UserError
from kd.machine.files import write_whole
from kd.machine.names import file_name
from kd.reports.page.contents import Contents
from kd.reports.page.render import page
from kd.tracking.ready import check_ready
from kd.tracking.recorded import named_runs, read_run
from kd.tracking.workspace import output_folder

_SEVERAL = re.compile(r"\d+-runs-")
"""How the name of a page of several runs begins."""


def report(config: ReportConfig) -> Answer:
    """Write the report of runs to a file.

    Raises:
        UserError: no run is named, there is no such run, or the store or folder can't be used.
    """
    if not config.runs.replace(",", "").strip():
        raise UserError(
            "none: name a run by its id, the first 8 characters of it, or its name; `kd runs` lists them", field="runs"
        )
    folder = output_folder(config.output_dir) / "reports"
    check_ready()
    names = named_runs(config.runs)
    contents = [read_run(name) for name in names]
    folder.mkdir(exist_ok=True)
    path = _file(folder, contents)
    write_whole(path, page(contents).encode())
    return Answer([(f"report: {path}", "")], {"report": str(path), "runs": names}, is_report=True)


def _file(folder: Path, contents: Sequence[Contents]) -> Path:
    """Return where the page of runs is written: that of one run over the page that its command has written."""
    first, *others = [content.run_id[:8] for content in contents]
    if others:
        return folder / f"{file_name(' '.join([f'{len(contents)} runs', first, *others]))}.html"
    earlier = [path for path in folder.glob(f"*-{first}.html") if not _SEVERAL.match(path.name)]
    return min(earlier, default=folder / f"{file_name(contents[0].title)}-{first}.html")
