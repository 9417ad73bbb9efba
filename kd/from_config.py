"""The one place that turns a configuration into the library's records: data, recipes, nets, trainings, teachers."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import kd
from kd.config import (
    NET_SETTINGS,
    SIZES,
    TEACHER_PREFIX,
    CombinationOptions,
    CombineConfig,
    DataConfig,
    ImagesConfig,
    NetAndRecipe,
    PaperConfig,
    PipelineConfig,
    SpecialistConfig,
    SpecialistOptions,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
    TuneConfig,
    numbers,
)
from kd.data.dataset import Dataset
from kd.data.load import load_dataset
from kd.distillation.defaults import AUTO_TEACHER, NEW_TEACHER, is_named_teacher
from kd.distillation.job import Job
from kd.distillation.net_check import check_combinable, check_net
from kd.distillation.objectives import check_loss
from kd.distillation.plan import Distillation, check_alpha, hard_targets_job, targets_seen
from kd.distillation.pretrained import About, read_classes
from kd.distillation.specialise import net_of_specialists
from kd.distillation.targets import TeacherTargets
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.flags import flags
from kd.losses.choice import SoftLoss, loss_of
from kd.losses.names import LOSS_WEIGHTS
from kd.machine.activity import doing
from kd.machine.device import resolve_device
from kd.machine.text import printable
from kd.nets.foreign import FromFile
from kd.nets.names import SMALL, arguments, is_named_elsewhere
from kd.nets.registry import NetSpec, net_spec
from kd.nets.resized import PX
from kd.nets.small_stem import SMALL_STEM
from kd.nets.weights import WEIGHTS
from kd.specialists.clustering import Group
from kd.specialists.confusion import in_groups
from kd.specialists.groups import check_groups, choose_groups, resolve_groups
from kd.specialists.kind import TaskKind
from kd.tracking import teachers
from kd.tracking.command_fingerprint import command_fingerprint, settings_fingerprint
from kd.tracking.ready import check_ready, check_registered
from kd.tracking.run_names import details, seeds_text
from kd.tracking.run_settings import RunSettings
from kd.tracking.store import Run, run_params, send_waiting
from kd.tracking.tracker import MlflowTracker
from kd.tracking.workspace import Workspace, check_space, open_workspace, output_folder
from kd.training.recipe import Recipe

log = logging.getLogger("kd")

StudentT = TypeVar("StudentT", bound=StudentConfig)

MAX_SEED = 2**31 - 1
LOGIT_BYTES = 2
FOLDER = "folder"
FILES_BYTES = 20 * 2**20
"""A model, its checkpoint and its figures, of a small net."""


def prepare(command: str, config: DataConfig) -> Workspace:
    """Load the data and check all that a command needs, before any run is opened; what is quick to check comes first.

    Raises:
        UserError: the data can't be loaded, there is no such device, a batch is larger than the training split, a shift than
            an image, the output folder can't be written to, the disk is too full, or MLflow can't be used.
    """
    resolve_device(config.device)
    _check_seeds(config)
    if isinstance(config, StudentConfig):
        config.check_teacher()
    output_dir = output_folder(config.output_dir)
    register_as = config.register_as if isinstance(config, CombinationOptions) else ""
    if not isinstance(config, PaperConfig) or config.track:
        check_registered(register_as, export=exports(config))
        check_ready(register_as)
        send_waiting(output_dir)
    dataset = load_dataset(
        config.data,
        config.data_root,
        image_px=config.decoded_px(),
        val_fraction=config.val_fraction,
        train_fraction=config.train_fraction,
        label_fraction=config.label_fraction,
        seed=config.data_seed,
        unlabelled=_transfer_root(config),
        skip_bad_images=config.skip_bad_images,
    )
    for name, size in config.batch_sizes().items():
        images = len(dataset.transfer_set) if name == "batch_size" and learns_unlabelled(config) else len(dataset.train)
        if size > images:
            raise UserError(f"{size}: the training split has only {images} images", field=name)
    _check_unlabelled(config, dataset)
    smallest_px = config.image_px if config.data == FOLDER else min(dataset.image_shape[1:])
    for name, shift in config.shifts().items():
        if shift >= smallest_px:
            raise UserError(f"{shift}: images of {smallest_px} px can only be shifted by fewer", field=name)
    check_space(output_dir, _least_bytes(config, dataset, output_dir))
    resume = config.resume if isinstance(config, TrainingConfig | PaperConfig) else True
    return open_workspace(command, dataset, config.device, output_dir, resume=resume)


def images_of_settings(settings: Mapping[str, object]) -> Dataset:
    """Load the data set that a recorded configuration tells of.

    Raises:
        UserError: it can't be loaded any more, or the configuration is none.
    """
    known = {name: settings[name] for name in ImagesConfig.model_fields if name in settings}
    config = ImagesConfig.parse(known)
    heights = (settings.get(name) for name in ("px", f"{TEACHER_PREFIX}px"))
    return load_dataset(
        config.data,
        config.data_root,
        image_px=max([config.image_px, *(height for height in heights if isinstance(height, int))]),
        val_fraction=config.val_fraction,
        train_fraction=config.train_fraction,
        label_fraction=config.label_fraction,
        seed=config.data_seed,
        skip_bad_images=config.skip_bad_images,
    )


def exports(config: DataConfig) -> bool:
    """Return whether a command keeps models as programs."""
    return config.export if isinstance(config, TrainingConfig) else True


def learns_unlabelled(config: DataConfig) -> bool:
    """Return whether a command trains students, which learn from images without labels too, where there are some."""
    if isinstance(config, TuneConfig):
        return config.objective == "student"
    return isinstance(config, StudentConfig) and not isinstance(config, SpecialistConfig)


def data_digest(config: DataConfig, dataset: Dataset) -> str:
    """Return the digest of all images that decide what a command finds."""
    return dataset.transfer_digest if learns_unlabelled(config) else dataset.digest


def _transfer_root(config: DataConfig) -> str | None:
    """Return the folder of images without labels; None: there is none.

    Raises:
        UserError: the command trains specialists alone.
    """
    root = config.transfer_root if isinstance(config, StudentConfig) else ""
    if root and not learns_unlabelled(config):
        raise UserError(
            f"{root}: an image without a label is of no group, so specialists can't learn from it; kd student and kd pipeline "
            "have students, which can",
            field="transfer_root",
        )
    return root or None


def _check_unlabelled(config: DataConfig, dataset: Dataset) -> None:
    """Refuse images without labels where soft targets have no weight, and tell who does not learn from them."""
    if dataset.unlabelled is None:
        return
    if learns_unlabelled(config) and isinstance(config, StudentConfig) and not isinstance(config, TuneConfig):
        check_alpha(config.alpha, dataset)
    if isinstance(config, TeacherConfig):
        log.info("the generalist learns from the %d images with labels alone", len(dataset.train))
    elif isinstance(config, SpecialistOptions) and (isinstance(config, PipelineConfig) or not learns_unlabelled(config)):
        log.info("specialists learn from the %d images with labels alone", len(dataset.train))


def _check_seeds(config: DataConfig) -> None:
    """Refuse seeds of replicates beyond the largest that random generators take."""
    for name in ("seeds", "final_seeds"):
        last = getattr(config, "seed", 0) + getattr(config, name, 0) - 1
        if last > MAX_SEED:
            raise UserError(f"{getattr(config, name)}: the last seed would be {last}; the largest is {MAX_SEED}", field=name)


def _least_bytes(config: DataConfig, dataset: Dataset, output_dir: Path) -> int:
    """Return how many bytes a command writes at least: targets that are not cached yet, and a model or two."""
    if not isinstance(config, StudentConfig):
        return FILES_BYTES
    views = min(config.views, config.epochs)
    images = len(dataset.transfer_set if learns_unlabelled(config) else dataset.train)
    targets = images * views * dataset.num_classes * LOGIT_BYTES
    cached = sum(path.stat().st_size for path in (output_dir / "targets").glob("*") if path.is_file())
    return max(0, targets - cached) + FILES_BYTES


def recipe(config: TeacherConfig | StudentConfig, dataset: Dataset) -> Recipe:
    """Return the recipe of a configuration's own net; its heights and shifts are those of images of ``--image-px``."""
    scale = dataset.image_shape[1] / config.image_px if config.data == FOLDER else 1.0
    return Recipe(
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        weight_decay=config.weight_decay,
        seed=config.seed,
        views=config.views if isinstance(config, StudentConfig) else 0,
        optimizer=config.optimizer,
        label_smoothing=config.label_smoothing,
        start_px=round(scale * config.start_px),
        shift_px=round(scale * config.shift_px),
        use=config.use,
        select_by=config.select_by,
        compile=config.compile,
    )


def net(config: TeacherConfig | StudentConfig, dataset: Dataset) -> NetSpec:
    """Return a configuration's own net, which sees the images of a data set at its own height.

    Raises:
        UserError: there is no such net, or no such weights.
    """
    return _net(config, {WEIGHTS: config.weights, PX: _own_px(config, dataset)})


def _net(config: TeacherConfig | StudentConfig, changes: Mapping[str, object]) -> NetSpec:
    """Return a configuration's own net with some changes, which every net can be asked for."""
    config.check_net()
    own = arguments(config.net_args) if is_named_elsewhere(config.net) else {name: getattr(config, name) for name in SIZES}
    return net_spec(config.net, {**own, SMALL_STEM: config.small_stem, **changes})


def _own_px(config: TeacherConfig | StudentConfig, dataset: Dataset) -> int:
    """Return the height at which a net sees images; 0: as they are, which may have been decoded larger for another net."""
    if config.data != FOLDER:
        return config.px
    seen = config.px or config.image_px
    return 0 if seen == dataset.image_shape[1] else seen


def check_nets(config: TeacherConfig | StudentConfig, workspace: Workspace) -> None:
    """Try each net that a command will train, before any run is opened; kd's own with random weights need no trial.

    Raises:
        UserError: there is no such net, or it can't be trained on the data, or exported.
    """
    if isinstance(config, StudentConfig):
        check_soft_targets(config, workspace.dataset)
        if not isinstance(config, TuneConfig):  # a search may choose the loss
            _warn_of_unused_weights(config)
    if isinstance(config, SpecialistConfig) and config.has_generalists_net():
        config.check_net()
    else:
        _try_net(config, workspace, "teacher" if isinstance(config, TeacherConfig) else "student")
    if isinstance(config, TeacherConfig):
        return
    if is_named_teacher(config.teacher):
        _warn_of_unused(config)
        return
    own = _teacher_to_train(config)
    if own.net_settings() == config.net_settings() and own.export == config.export:
        return  # it is the same net
    with _of_teacher():
        _try_net(own, workspace, "teacher")


def with_generalists_net(config: StudentT, workspace: Workspace, teacher: Teacher | None) -> StudentT:
    """Return a configuration with the net that specialists have where none is named: the generalist's.

    Where they can't start from its weights they have a small net of kd's own, which is said.

    Args:
        config: the command's.
        workspace: its data.
        teacher: the generalist; None: it is still to be trained.

    Raises:
        UserError: the net can't be trained on the data, or exported.
    """
    if not (isinstance(config, SpecialistConfig) and config.has_generalists_net()):
        return config
    if teacher is None or config.decides_teacher():
        own: NetSpec | None = net(config.teacher_config(), workspace.dataset)
    else:
        own = net_of_specialists(teacher, specialist_kind(config))
    if own is None:
        log.info("specialists can't have this generalist's net: theirs is a small resnet; --net names another")
        return config.model_copy(update={"net": "resnet", **SMALL})
    found = config.model_copy(update={"net": own.name, **_settings_of(own, config, workspace.dataset)})
    if teacher is not None:  # one that is still to be trained has been tried
        _try_net(found, workspace, "a specialist")
    return found


def _settings_of(own: NetSpec, config: SpecialistConfig, dataset: Dataset) -> dict[str, object]:
    """Return the settings of the generalist's net, but for those that are given for specialists."""
    settings = {name: value for name, value in own.settings.items() if name in NET_SETTINGS and not getattr(config, name)}
    as_decoded = config.data == FOLDER and not config.px and dataset.image_shape[1] != config.image_px
    return {**({PX: dataset.image_shape[1]} if as_decoded else {}), **settings}


def _warn_of_unused_weights(config: StudentConfig) -> None:
    """Warn of weights of a loss that is not the chosen one."""
    fields = type(config).model_fields
    unused = [name for name in sorted(config.of_other_losses()) if getattr(config, name) != fields[name].default]
    if unused:
        log.warning("not used, since --loss is %s: %s", printable(config.loss), ", ".join(flags(name)[-1] for name in unused))


def _warn_of_unused(config: StudentConfig) -> None:
    """Warn of settings of a teacher that is not trained, since one was named."""
    fields = type(config).model_fields
    own = [f"{TEACHER_PREFIX}{name}" for name in NetAndRecipe.model_fields]
    unused = [name for name in own if getattr(config, name) != fields[name].default and name not in config.of_named_teacher()]
    if unused:
        log.warning("not used, since --teacher names a teacher: %s", ", ".join(flags(name)[-1] for name in unused))


def _try_net(config: TeacherConfig | StudentConfig, workspace: Workspace, label: str) -> None:
    spec = net(config, workspace.dataset)
    if spec.is_own:
        with doing(f"trying {spec.name}"):
            check_net(spec, workspace.dataset, workspace.dataset.num_classes, workspace.device, label, exported=config.export)


def _teacher_to_train(config: StudentConfig) -> TeacherConfig:
    """Return the configuration of a command's teacher; that of a search is always exported, since its workers load it."""
    own = config.teacher_config()
    return own.model_copy(update={"export": True}) if isinstance(config, TuneConfig) else own


@contextmanager
def _of_teacher() -> Iterator[None]:
    """Name the settings of a teacher as the command that trains students has them."""
    try:
        yield
    except UserError as error:
        field = f"{TEACHER_PREFIX}{error.field}" if error.field else None
        raise UserError(str(error), field=field) from error.__cause__


def teacher_job(config: TeacherConfig, workspace: Workspace) -> Job:
    """Return the training of a generalist."""
    return hard_targets_job(
        net(config, workspace.dataset), workspace.dataset, recipe(config, workspace.dataset), workspace.device
    )


def teacher_tracker(config: TeacherConfig, workspace: Workspace, above: Run | None = None) -> MlflowTracker:
    """Return the tracker of a generalist's training, whose run shows its whole configuration.

    Args:
        config: the generalist's.
        workspace: data, device and folders.
        above: the command's run, in which it is trained; None: its own run is the command's.
    """
    settings = replace(run_settings(config, workspace, above), export=config.export)
    return MlflowTracker(replace(settings, params=config.params(), configuration=config.recorded()))


def run_settings(config: DataConfig, workspace: Workspace, above: Run | None = None) -> RunSettings:
    """Return what the runs of one command share.

    Args:
        config: the command's.
        workspace: data, device and folders.
        above: the command's run; None: it has one run alone.
    """
    settings = RunSettings(
        workspace.output_dir,
        workspace.tags,
        workspace.resume,
        in_resumed=above is not None and above.is_resumed,
        register_as=config.register_as if isinstance(config, CombinationOptions) else "",
        export=exports(config),
    )
    if not isinstance(config, TrainingConfig | PaperConfig):
        return settings
    return replace(settings, checkpoint_minutes=config.checkpoint_minutes)


def find_teacher(config: StudentConfig, workspace: Workspace, run: Run | None = None) -> Teacher:
    """Return the teacher that ``--teacher`` asks for: loaded, reused or trained; the command's run is open.

    Raises:
        UserError: there is no such run or model, or it is of other classes or another image shape.
    """
    return finished_teacher(config, workspace, run) or train_teacher(config, workspace, run)


def finished_teacher(config: StudentConfig, workspace: Workspace, run: Run | None = None) -> Teacher | None:
    """Return the teacher that ``--teacher`` asks for, loaded or reused; None: it is still to be trained.

    A command that was stopped keeps its teacher when it is given again, even if a better one has come since.

    Args:
        config: the command's.
        workspace: its data.
        run: its run, which is open and may have been resumed; None: a study keeps its teacher itself.

    Raises:
        UserError: as :func:`find_teacher`.
    """
    if is_named_teacher(config.teacher):
        return replace(named_teacher(config, workspace), chosen="it was named")
    kept = teachers.kept_by(run.id, workspace) if run and run.is_resumed else None
    if kept or config.teacher == NEW_TEACHER:
        return kept
    if not config.has_teacher_settings():
        return teachers.best_on_val(workspace)
    return teachers.reusable(teacher_job(config.teacher_config(), workspace), workspace)


def named_teacher(config: StudentConfig, workspace: Workspace, *, warn: bool = True) -> Teacher:
    """Return the teacher that ``--teacher`` names.

    Raises:
        UserError: as :func:`find_teacher`.
    """
    return teachers.load_teacher(config.teacher, workspace, warn=warn, about=about_teacher(config))


def check_teacher(config: StudentConfig, workspace: Workspace) -> str:
    """Refuse a teacher that was named before any run is opened.

    Returns:
        Its digest; empty: none was named.

    Raises:
        UserError: as :func:`find_teacher`.
    """
    if not is_named_teacher(config.teacher):
        return ""
    teacher = named_teacher(config, workspace, warn=False)  # it is loaded again, and may be warned of then
    if isinstance(config, SpecialistOptions) and not isinstance(config, TuneConfig) and exports(config):
        _check_combinable(config.teacher, teacher, "teacher")
    return teacher.digest


def _check_combinable(name: str, teacher: Teacher, field: str) -> None:
    """Refuse a model of others that a combined model can't have as its part, before anything is trained."""
    if any(isinstance(part, FromFile) for part in teacher.model.modules()):
        check_combinable(name, teacher.model, teacher.dataset, field)


def about_teacher(config: StudentConfig) -> About:
    """Return what is said of a teacher that is named."""
    own, mean, std = config.teacher_config(), numbers(config.teacher_mean), numbers(config.teacher_std)
    with _of_teacher():
        spec = _net(own, {}) if config.names_state_dict() else None
    names = read_classes(config.teacher_classes, "teacher_classes") if config.teacher_classes else None
    usual = config.image_px if config.data == FOLDER else 0
    return About(spec, names, mean, std, own.px, usual)


def train_teacher(config: StudentConfig, workspace: Workspace, run: Run | None = None) -> Teacher:
    """Train the teacher of a configuration, in a run below the command's, which is open.

    Raises:
        UserError: the loss is not finite, or the tracking store can't be used.
    """
    own = _teacher_to_train(config)
    trained = teachers.train_teacher(teacher_job(own, workspace), teacher_tracker(own, workspace, run))
    return replace(trained, chosen=_why_trained(config))


def generalist(config: CombineConfig, workspace: Workspace) -> Teacher:
    """Return the generalist that ``--generalist`` names, or the best finished one on val.

    Raises:
        UserError: there is no such run or model, or it is of other classes or another image shape.
    """
    if config.generalist != AUTO_TEACHER:
        named = teachers.load_teacher(config.generalist, workspace, field="generalist")
        _check_combinable(config.generalist, named, "generalist")
        return replace(named, chosen="it was named")
    best = teachers.best_on_val(workspace)
    if best is None:
        raise UserError("auto: the store has no finished teacher of this data; kd teacher trains one", field="generalist")
    return best


def _why_trained(config: StudentConfig) -> str:
    if config.teacher == NEW_TEACHER:
        return "it was trained, as --teacher new asks"
    asked = "has these settings" if config.has_teacher_settings() else "is of this data and can be used"
    return f"it was trained: no finished teacher {asked}"


def fingerprint_of(config: DataConfig, workspace: Workspace, models: str = "") -> str:
    """Return the fingerprint by which a command is known again after a stop: a search may go on with more trials.

    Args:
        config: the command's.
        workspace: its data.
        models: digest of the models that the command names; empty: it names none. The same name may stand for another model
            later: a file is written anew, an alias of the registry is moved.
    """
    nets = [net(own, workspace.dataset).facts(*_logits_and_channels(workspace.dataset)) for own in _own_nets(config)]
    losses = [loss(config).facts()] if isinstance(config, StudentConfig) else []
    settings = _settings(config) | {"nets": repr(nets), "losses": repr(losses), "models": models}
    return command_fingerprint(workspace.command, settings, data_digest(config, workspace.dataset), kd.__version__)


def foreign_code(config: StudentConfig, dataset: Dataset) -> str:
    """Return a digest of the nets and of the loss of a command that are not kd's own; empty: all are kd's.

    Their names stay the same when their files are edited.
    """
    specs = [net(own, dataset) for own in _own_nets(config)]
    facts: list[object] = [spec.facts(*_logits_and_channels(dataset)) for spec in specs if spec.is_own]
    if is_named_elsewhere(config.loss):
        facts.append(loss(config).facts())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32] if facts else ""


def settings_fingerprint_of(config: DataConfig, workspace: Workspace) -> str:
    """Return the fingerprint of what was typed alone, by which it is seen that the images or a net's code have changed."""
    return settings_fingerprint(workspace.command, _settings(config))


def _settings(config: DataConfig) -> dict[str, str]:
    return {name: value for name, value in config.params().items() if name != "trials"}


def _own_nets(config: DataConfig) -> list[TeacherConfig | StudentConfig]:
    """Return the configurations of the nets that a command may train: their files and weights are not told by settings."""
    if isinstance(config, TeacherConfig):
        return [config]
    if not isinstance(config, StudentConfig):
        return []
    own: list[TeacherConfig | StudentConfig] = []
    if not (isinstance(config, SpecialistConfig) and config.has_generalists_net()):
        own.append(config)
    return own if is_named_teacher(config.teacher) else [*own, config.teacher_config()]


def _logits_and_channels(dataset: Dataset) -> tuple[int, int]:
    return dataset.num_classes, dataset.image_shape[0]


def run_details(config: DataConfig) -> str:
    """Return what tells a command's run from others of the same command, as the end of its name."""
    if isinstance(config, PaperConfig):
        return details({"net": config.net, "seed": seeds_text(range(config.seed, config.seed + config.seeds))})
    if not isinstance(config, StudentConfig):
        return ""
    names = [
        name
        for name in ("temperature", "alpha", *_loss_names(config), "width", "depth", "net_args", "net")
        if name in config.recorded()
    ]
    seeds = seeds_text(range(config.seed, config.seed + config.seeds))
    values: dict[str, object] = {
        name: getattr(config, name) for name in names if getattr(config, name) != ""
    }  # an alpha of 0 is told
    return details({**values, "seed": seeds})


def _loss_names(config: StudentConfig) -> list[str]:
    """Return the settings of the loss, where it is not the usual one."""
    named = ["loss", *(f"{config.loss}_{name}" for name in LOSS_WEIGHTS.get(config.loss, {}))] if config.loss != "kd" else []
    return [*named, *(["standardize"] if config.standardize else [])]


def log_images(run: Run, config: DataConfig, dataset: Dataset) -> None:
    """Log the images of a command as inputs of its run; of those without labels also how many there are, and their digest."""
    unlabelled = dataset.unlabelled if learns_unlabelled(config) else None
    run.log_dataset(dataset, unlabelled=unlabelled is not None)
    if unlabelled is not None:
        run.log_params({"unlabelled": str(len(unlabelled))})
        run.log_tags({"kd.unlabelled_digest": dataset.unlabelled_digest})


def log_teacher_params(run: Run, config: StudentConfig, teacher: Teacher) -> None:
    """Log which teacher was taken and why, and the settings that it was trained with where the configuration has others."""
    known = run_params(teacher.run_id.split(",")) if teacher.run and not config.decides_teacher() else {}
    settings = {f"{TEACHER_PREFIX}{name}": known[name] for name in NetAndRecipe.model_fields if name in known}
    run.log_params({"teacher_chosen": teacher.chosen, **settings})


def distillation(config: StudentConfig, workspace: Workspace) -> Distillation:
    """Return the choices of the distillation of students and specialists."""
    own, how = net(config, workspace.dataset), recipe(config, workspace.dataset)
    return Distillation(own, how, workspace.device, config.temperature, config.alpha, config.control, loss(config))


def loss(config: StudentConfig) -> SoftLoss:
    """Return the loss of a configuration's soft targets.

    Raises:
        UserError: there is no such function, it gives no loss, or standardised logits do not fit the loss.
    """
    if is_named_elsewhere(config.loss):
        return replace(loss_of(config.loss), standardize=config.standardize)
    weights = {name: getattr(config, f"{config.loss}_{name}") for name in LOSS_WEIGHTS[config.loss]}
    return SoftLoss(config.loss, weights, config.standardize)


def check_soft_targets(config: StudentConfig, dataset: Dataset) -> None:
    """Refuse a loss that does not fit what is trained, before any run is opened.

    Raises:
        UserError: it does not fit.
    """
    chosen = loss(config)
    if isinstance(config, SpecialistOptions):
        check_loss(chosen, specialist_kind(config))
    if learns_unlabelled(config):
        check_loss(chosen, TaskKind.ALL, unlabelled=len(dataset.unlabelled or ()))


def teacher_targets(config: StudentConfig, workspace: Workspace, teacher: Teacher) -> TeacherTargets:
    """Return the teacher's logits for the training images, from their file below ``targets/`` or live.

    Raises:
        UserError: the logits are not finite, or the file can't be used.
    """
    how, folder = distillation(config, workspace), workspace.output_dir / "targets"
    return targets_seen(teacher, how, folder, unlabelled=learns_unlabelled(config))


def specialist_kind(config: SpecialistOptions) -> TaskKind:
    """Return the kind of a configuration's specialists."""
    if config.specialist_kind == "full":
        return TaskKind.FULL
    return TaskKind.DUSTBIN if config.dustbin else TaskKind.OWN


@doing("finding groups")
def groups_of(config: SpecialistOptions, workspace: Workspace, teacher: Teacher) -> tuple[tuple[Group, ...], dict[int, Group]]:
    """Return all groups of ``--groups``, and by number those of ``--group``; each is logged.

    Raises:
        UserError: a bad group, or none of that number.
    """
    dataset = workspace.dataset
    groups = resolve_groups(
        config.groups,
        config.data,
        dataset.classes,
        lambda: teacher.val_logits.softmax(dim=1),
        labels=dataset.val.labels.cpu() if config.group_by == "confusion" else None,
        seed=config.data_seed,
    )
    for number, group in enumerate(groups):
        log.info("group %d: %s", number, ", ".join(printable(dataset.classes[label]) for label in group))
    _say_in_groups(groups, teacher)
    return groups, choose_groups(groups, config.group)


def _say_in_groups(groups: tuple[Group, ...], teacher: Teacher) -> None:
    """Say how many of the generalist's mistakes on val are between classes of one group: what specialists can mend."""
    val = teacher.dataset.val
    told = in_groups(teacher.val_logits.argmax(dim=1), val.labels.cpu(), groups, teacher.dataset.num_classes)
    if not told.mistakes:
        log.warning("the generalist makes no mistake on the %d val images: groups of what it confuses tell little", len(val))
        return
    log.info(
        "%d of the generalist's %d mistakes on val are between classes of one group; by chance %.0f",
        told.inside,
        told.mistakes,
        told.by_chance * told.mistakes,
    )


def check_group_settings(config: SpecialistOptions, workspace: Workspace) -> None:
    """Refuse bad groups before any run is opened, as far as they are known without a teacher.

    Raises:
        UserError: bad groups, or more classes of the generalist's ranking than there are.
    """
    check_top_n(config.top_n, workspace)
    check_groups(config.groups, config.group, config.data, workspace.dataset.classes)


def check_top_n(top_n: int, workspace: Workspace) -> None:
    """Refuse more classes of the generalist's ranking than there are.

    Raises:
        UserError: there are not so many.
    """
    if top_n > workspace.dataset.num_classes:
        raise UserError(f"{top_n}: there are only {workspace.dataset.num_classes} classes", field="top_n")
