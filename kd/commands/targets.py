"""``kd targets``: shows and clears the teacher's cached logits, without MLflow."""

import logging

from kd.config import TargetsConfig
from kd.distillation.target_cache import TargetsInfo, list_targets, prune_targets
from kd.errors import UserError
from kd.machine.paths import user_path

log = logging.getLogger("kd")


def targets(config: TargetsConfig) -> None:
    """Show or clear the teacher's cached logits."""
    if not (config.list or config.prune):
        raise UserError("targets: nothing to do; give --list, --prune or both")
    folder = user_path(config.output_dir, "output_dir") / "targets"
    found = list_targets(folder)
    if config.list:
        for info in found:
            log.info("%s", _described(info))
        log.info("%s: %s", folder, f"{sum(info.size_bytes for info in found):,} bytes in all" if found else "nothing is cached")
    if config.prune:
        pruned = prune_targets(folder)
        for info in pruned:
            log.info("deleted %s, %s bytes", info.path, f"{info.size_bytes:,}")
        if not pruned:
            log.info("%s: nothing to delete", folder)


def _described(info: TargetsInfo) -> str:
    size = f"{info.path}: {info.size_bytes:,} bytes"
    if info.key is None:
        return f"{size}, damaged"
    key = info.key
    of = f"teacher {key.teacher[:8]}, data {key.data[:8]}, {key.split}"
    return f"{size}, {of}, {key.images:,} images x {key.views} views, {key.dtype}"
