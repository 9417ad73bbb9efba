"""What is seen of a study while it runs: a bar on a terminal, or a line per trial; and the note and figures of its run."""

import logging
import time
from contextlib import ExitStack
from typing import Self

from optuna.trial import FrozenTrial

from kd.machine.activity import Activity, begun, doing
from kd.machine.progress import bar
from kd.machine.schedule import about
from kd.search.attributes import END, RUN, SURPLUS
from kd.search.best import best_trial, write_best
from kd.search.certainty import ValImages
from kd.search.figures import log_figures
from kd.search.report import best_text, count_states, note, trial_line
from kd.search.session import Session
from kd.search.state import all_trials, count_finished, without_surplus
from kd.tracking import store as tracking
from kd.tracking.views import FINALS, TRIALS

log = logging.getLogger("kd")

FIGURE_SECONDS = 60.0


class StudyProgress:
    """Shows trials as they end; as a context manager it shows the bar too."""

    def __init__(self, session: Session, parent: tracking.Run, groups: str, images: ValImages) -> None:
        self._session = session
        self._study = session.study
        self._parent = parent
        self._groups = groups
        """As ``--groups`` of the command that trains the winner."""
        self._images = images
        """Over which val images each accuracy is."""
        self._shown = self._ended()
        self._drawn: set[int] | None = None
        """The numbers of the ended trials that the figures show; None: nothing is drawn yet."""
        self._drawn_at = time.monotonic()
        self._began = time.monotonic()
        self._ended_here = 0
        self._logged = -1
        """The number of trials that had ended when they were counted in metrics last."""
        self._activity = Activity("running trials", has_bar=True, tell=self._tell, total=session.config.trials)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._bar = bar(self._study.study_name, self._activity.total, "trial")
        self._bar.n = self._bar.initial = self._activity.done = self._finished()
        self._stack.callback(self._bar.close)
        self._stack.enter_context(begun(self._activity))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def update(self) -> None:
        """Show the trials that ended since the last update."""
        new = [trial for trial in all_trials(self._study) if trial.state.is_finished() and trial.number not in self._shown]
        if not new:
            return
        left = self._left(len(new))
        for trial in new:
            self._shown.add(trial.number)
            self._show_line(trial, left)
        self._bar.n = self._activity.done = self._finished()
        self._bar.set_postfix_str(best_text(self._study))
        self._log_state("", final=False)
        if time.monotonic() - self._drawn_at > FIGURE_SECONDS:
            self._draw()

    @doing("writing the note and figures of the study")
    def show(self, comparison: str) -> None:
        """Bring the run's note and figures up to date.

        Args:
            comparison: at the study's end the comparison on test, in Markdown.
        """
        self._log_state(comparison, final=True)
        self._draw()

    def _finished(self) -> int:
        return min(self._session.config.trials, count_finished(all_trials(self._study)))

    def _tell(self) -> str:
        """Return the line that tells how far the study is, from another thread, which asks no storage."""
        seconds = time.monotonic() - self._began
        return f"{self._activity.what} ... {self._activity.done} of {self._activity.total} ended ({seconds:.0f} s)"

    def _left(self, new: int) -> str:
        """Return how long the trials that are left will take, at the pace of those that ended since the command began."""
        self._ended_here += new
        left = self._session.config.trials - count_finished(all_trials(self._study))
        return f", {about((time.monotonic() - self._began) / self._ended_here * left)} left" if left > 0 else ""

    def _show_line(self, trial: FrozenTrial, left: str) -> None:
        if self._bar.disable and trial.user_attrs.get(END) != SURPLUS:
            log.info("%s%s", trial_line(self._session.config, self._study, trial), left)

    def _log_state(self, comparison: str, *, final: bool) -> None:
        """Log the note, how many trials ended how, and the best one so far."""
        session, parent = self._session, self._parent
        text = note(
            session.config,
            self._study,
            groups=self._groups,
            space=session.space,
            images=self._images,
            comparison=comparison,
            views=parent.view_links((TRIALS, FINALS)),
            history=parent.history,
        )
        parent.log_note(text, final=final)
        states = {f"search/trials_{name}": count for name, count in count_states(self._study).items()}
        best = best_trial(self._study)
        value = {} if best is None else {"search/best_val_accuracy": best.values[0]}
        finished = count_finished(without_surplus(all_trials(self._study)))
        if finished != self._logged:
            self._logged = finished
            parent.log_epochs([{"epoch": float(finished), **states, **value}])
        if best is not None:
            parent.log_tags({"kd.best_trial": str(best.number), "kd.best_run": best.user_attrs.get(RUN, "")})

    def _draw(self) -> None:
        """Draw the figures and write ``best.yaml``, unless no trial ended since the last time."""
        ended = self._ended()
        if ended == self._drawn:
            return
        session, parent = self._session, self._parent
        log_figures(parent, self._study, session.space, self._images)
        path = write_best(session.config, self._study, self._groups, parent.output_dir)
        if path is not None:
            parent.log_file(path, "settings")
        self._drawn, self._drawn_at = ended, time.monotonic()

    def _ended(self) -> set[int]:
        return {trial.number for trial in all_trials(self._study) if trial.state.is_finished()}
