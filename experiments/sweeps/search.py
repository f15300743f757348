"""An adaptive search: Optuna chooses points, each of which is an ordinary run."""

from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from dsh_jax.sweeps import sweep
from experiments.sweeps.runs import Run
from experiments.sweeps.status import read_record

OBJECTIVE = "valid/map"  # of validation rows: the queries have no part in the choice


class Search:
    """Asks Optuna for points and tells it what came of them.

    Trials live in `optuna.log` of the workdir. Those that were under way when an earlier search
    was stopped are failed and their points tried first: their runs go on from their checkpoints.

    Args:
      space: (dotted key, values or range) pairs, see `sweep.expand_sweep`.
      trials: how many, those of earlier searches of the study included.
      study: its name.
      seed: of the sampler.
      workdir: of the sweep.
      make: from a point to its run.
      is_finished: whether a run has its result.

    Raises:
      ValueError: where Optuna is not installed.
    """

    def __init__(
        self,
        space: sweep.Sweep,
        *,
        trials: int,
        study: str,
        seed: int,
        workdir: epath.Path,
        make: Callable[[Mapping[str, Any]], Run],
        is_finished: Callable[[Run], bool],
    ):
        try:
            import optuna
        except ImportError as error:
            raise ValueError("--search=optuna needs Optuna: pip install -e .[search].") from error
        sweep.check_sweep(space)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        backend = optuna.storages.journal.JournalFileBackend(str(workdir / "optuna.log"))
        storage = optuna.storages.JournalStorage(backend)
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(
            study_name=study, storage=storage, direction="maximize", load_if_exists=True
        )
        # Another seed for each start: the first one's draws are made already.
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(self._study.trials), constant_liar=True
        )
        self._space, self._trials, self._workdir = space, trials, workdir
        self._make, self._is_finished = make, is_finished
        self._asked: dict[str, list[Any]] = {}  # name of a run under way to its trials
        for trial in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            self._study.tell(trial.number, state=self._states.FAIL)
            self._study.enqueue_trial(trial.params, user_attrs={"again": trial.number})

    def next_runs(self, free: int) -> list[Run]:
        """Return up to so many runs of new trials; none once all trials are made.

        Args:
          free: how many.
        """
        runs: list[Run] = []
        while len(runs) < free and self._made() < self._trials:
            trial = self._study.ask()
            one = self._make({key: _suggest(trial, key, values) for key, values in self._space})
            trial.set_user_attr("run", one.name)
            under_way = one.name in self._asked
            self._asked.setdefault(one.name, []).append(trial)
            if under_way:
                continue  # one run answers both
            if self._is_finished(one):
                self.ended(one, "")
            else:
                runs.append(one)
        return runs

    def _made(self) -> int:
        """Return how many trials there are, each that was made again counted once."""
        trials = self._study.get_trials(deepcopy=False)
        waiting = sum(trial.state == self._states.WAITING for trial in trials)
        return len(trials) - waiting - sum("again" in trial.user_attrs for trial in trials)

    def ended(self, one: Run, how: str) -> None:
        """Tell Optuna the best validation mAP of a run, or that it failed.

        Args:
          one: run.
          how: it ended, see `Run.end`.
        """
        value = read_record(one.name, one.point, self._workdir).metrics.get(OBJECTIVE)
        for trial in self._asked.pop(one.name):
            if how or value is None:
                trial.set_user_attr("reason", how or "no valid/map; data.validation is 0")
                self._study.tell(trial, state=self._states.FAIL)
            else:
                self._study.tell(trial, value)

    def best(self) -> str:
        """Return a line on the best trial."""
        done = self._study.get_trials(deepcopy=False, states=(self._states.COMPLETE,))
        if not done:
            return "no trial has a result"
        best = self._study.best_trial
        return (
            f"best of {len(done)} trials: {best.user_attrs['run']}, validation mAP {best.value:.4f}"
        )


def _suggest(trial: Any, key: str, values: Any) -> Any:
    """Return Optuna's choice among values or within a range."""
    if not sweep.is_range(values):
        # By their names: Optuna's storage has no tuples.
        named = {sweep.value_name(value): value for value in values}
        return named[trial.suggest_categorical(key, list(named))]
    name, low, high = values
    if name == "int":
        return trial.suggest_int(key, low, high)
    return trial.suggest_float(key, low, high, log=name == "log_uniform")
