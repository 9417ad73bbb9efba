"""``kd results``: the records of experiments as one page."""

from kd.commands.answer import Answer
from kd.config import ResultsConfig
from kd.errors import UserError
from kd.lab.page import results_page
from kd.lab.record import Record
from kd.machine.files import write_whole
from kd.machine.paths import user_path


def results(config: ResultsConfig) -> Answer:
    """Render all records of a folder as a page in Markdown.

    Raises:
        UserError: there are none, or one can't be read.
    """
    folder = user_path(config.results, "results")
    records = [Record.read(path) for path in sorted(folder.glob("*.json"))]
    if not records:
        raise UserError(f"{folder}: holds no records of experiments; kd paper writes them", field="results")
    output = user_path(config.output, "output")
    write_whole(output, results_page(records, config.results).encode())
    return Answer(
        [(f"{output}: {len(records)} experiments", "")], {"output": str(output), "records": len(records)}, is_report=True
    )
