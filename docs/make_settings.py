"""Write every setting of every command, from the configurations: ``python docs/make_settings.py``."""

from collections.abc import Mapping
from pathlib import Path

from pydantic.fields import FieldInfo

from kd import config
from kd.cli import COMMANDS, EXPERIMENT_HELP, OUTPUT_OPTIONS, POWER_HELP, POWERED, PRESET_HELP, config_class
from kd.flags import flags
from kd.tracking.params import canonical

PATH = Path(__file__).with_name("settings.md")
SECTIONS: dict[str, type[config.Config]] = {
    "Images": config.ImagesConfig,
    "Files": config.OutputConfig,
    "Device": config.DataConfig,
    "Training": config.TrainingConfig,
    "Net and recipe": config.NetAndRecipe,
    "Distillation": config.StudentConfig,
    "Combination (Eq. 5)": config.CombinationOptions,
    "Specialists": config.SpecialistOptions,
    "`kd combine`": config.CombineConfig,
    "`kd predict`": config.PredictConfig,
    "`kd export`": config.ExportConfig,
    "`kd targets`": config.TargetsConfig,
    "`kd runs`": config.RunsConfig,
    "`kd doctor`": config.DoctorConfig,
    "`kd paper`": config.PaperConfig,
    "`kd report`": config.ReportConfig,
    "`kd results`": config.ResultsConfig,
    "`kd tune`": config.TuneConfig,
}
HEAD = """# Settings

Each is a flag (`--data-root photos`), a parameter of `mlflow run` (`-P data_root=photos`) and a line of a YAML file for
`--config` (`data_root: photos`). This page is made from the configurations by `python docs/make_settings.py`;
`kd COMMAND --help` shows the same.
"""
OF_TEACHER = """
Of the net that a command trains: in `kd teacher` the generalist, in the others students and specialists, where the generalist's
have `teacher-` in front (`--teacher-epochs 30`). The generalist has depth {depth} and width {width} by default.
"""
OF_SPECIALIST = """
In `kd specialist` `--temperature` is {temperature} by default and `--alpha` {alpha}, and specialists have the generalist's net
unless `--net`, `--depth` or `--width` is given; in the other commands all are as above.
"""


def page() -> str:
    """Return the page in Markdown."""
    parts = [HEAD]
    for title, section in SECTIONS.items():
        own = _own_fields(section)
        text = _text(section)
        parts.append(f"## {title}\n\n{_commands(section)}\n{text}\n{_table(own)}")
    return "\n".join([*parts, "## Flags that are no settings\n", *_options(), ""])


def _text(section: type[config.Config]) -> str:
    """Return what is told of a section before its table, with the defaults that are other ones elsewhere."""
    if section is config.NetAndRecipe:
        return OF_TEACHER.format(**_defaults(config.TeacherConfig))
    if section is config.SpecialistOptions:
        return OF_SPECIALIST.format(**_defaults(config.SpecialistConfig))
    return ""


def _defaults(kind: type[config.Config]) -> dict[str, str]:
    return {name: canonical(field.default) for name, field in kind.model_fields.items()}


def _own_fields(section: type[config.Config]) -> dict[str, FieldInfo]:
    """Return the fields of a configuration that no section before it shows, of which it is a special form."""
    shown = {
        name
        for other in SECTIONS.values()
        if other is not section and issubclass(section, other)
        for name in other.model_fields
    }
    if issubclass(section, config.StudentConfig):
        shown |= {f"{config.TEACHER_PREFIX}{name}" for name in config.NetAndRecipe.model_fields}
    return {name: field for name, field in section.model_fields.items() if name not in shown}


def _commands(section: type[config.Config]) -> str:
    """Return which commands have the fields of a section."""
    having = [command for command in COMMANDS if issubclass(config_class(command), section)]
    return f"Commands: {'all' if len(having) == len(COMMANDS) else ', '.join(having)}."


def _table(fields: Mapping[str, FieldInfo]) -> str:
    rows = ["| flag | default | what |", "| --- | --- | --- |"]
    for name, field in fields.items():
        default = canonical(field.default)
        told = str(field.description).replace("|", "\\|")
        rows.append(f"| `{flags(name)[-1]}` | {f'`{default}`' if default else ''} | {told} |")
    return "\n".join(rows) + "\n"


def _options() -> list[str]:
    options = {"--config FILE": "YAML file of settings; flags win over it.", "--experiment-name NAME": EXPERIMENT_HELP}
    options |= {f"{flags(name)[0]} NAME": text for name, text in PRESET_HELP.items()}
    options["--power POINTS"] = f"{POWER_HELP} Commands: {', '.join(POWERED)}."
    options |= {", ".join(names): text for names, text in OUTPUT_OPTIONS.values()}
    return [f"- `{names}`: {text}" for names, text in options.items()]


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
