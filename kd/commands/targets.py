"""``kd targets``: shows and clears the teacher's cached logits, without MLflow."""

from kd.commands.answer import Answer
from kd.config import TargetsConfig
from kd.distillation.target_cache import TargetsInfo, list_targets, prune_targets
from kd.errors import UserError
from kd.machine.paths import user_path


def targets(config: TargetsConfig) -> Answer:
    """Show or clear the teacher's cached logits."""
    if not (config.list or config.prune):
        raise UserError("targets: nothing to do; give --list, --prune or both")
    folder = user_path(config.output_dir, "output_dir") / "targets"
    found = list_targets(folder)
    lines = []
    if config.list:
        in_all = f"{sum(info.size_bytes for info in found):,} bytes in all" if found else "nothing is cached"
        lines += [*map(_described, found), f"{folder}: {in_all}"]
    pruned = prune_targets(folder) if config.prune else []
    lines += [f"deleted {info.path}, {info.size_bytes:,} bytes" for info in pruned]
    if config.prune and not pruned:
        lines.append(f"{folder}: nothing to delete")
    listed = [{"path": str(info.path), "bytes": info.size_bytes, "is_damaged": info.key is None} for info in found]
    record = {"folder": str(folder), "targets": listed, "deleted": [str(info.path) for info in pruned]}
    return Answer([(line, "") for line in lines], record, is_report=True)


def _described(info: TargetsInfo) -> str:
    size = f"{info.path}: {info.size_bytes:,} bytes"
    if info.key is None:
        return f"{size}, damaged"
    key = info.key
    of = f"teacher {key.teacher[:8]}, data {key.data[:8]}, {key.split}"
    return f"{size}, {of}, {key.images:,} images x {key.views} views, {key.dtype}"
