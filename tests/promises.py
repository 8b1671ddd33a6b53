"""Each promise of the README broken once: which test notices?

    uv run python tests/promises.py
    uv run python tests/promises.py "another order" kill

breaks the code in a copy of the checkout, one promise at a time (or those whose names hold one of the texts), and runs
the tests that should notice until one fails. It prints that test, and leaves with 1 if a broken promise is not noticed.
`docs/making/mutants.md` has the list.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from trials import changed, copied, first_failure, in_a_fork, run_pytest

# What is broken: the file, the code as it is, the code that breaks it, and where it should be noticed.
PROMISES: dict[str, tuple[str, str, str, str]] = {
    "a pixel's confidence is stored one level off after resume": (
        "src/dmtc/api/launch.py",
        "    run_folder = RunFolder.existing(folder)\n",
        "    run_folder = RunFolder.existing(folder)\n"
        "    import dmtc.pseudo.labelling as labelling\n"
        "    real = labelling.level_of\n"
        "    labelling.level_of = lambda log_odds: (real(log_odds) - 1).clamp(0)\n",
        "tests/api/test_resume.py",
    ),
    "a run that should be killed continues": (
        "tests/helpers/stopped_runs.py",
        "                os.kill(os.getpid(), signum)",
        "                pass",
        "tests/api/test_resume.py",
    ),
    "loader processes read images in another order": (
        "src/dmtc/batches/loader.py",
        "    samples = [reading.sample for reading in readings if isinstance(reading.sample, Sample)]",
        "    samples = [reading.sample for reading in readings if isinstance(reading.sample, Sample)]\n"
        "    import torch.utils.data\n"
        "    samples = samples[::-1] if torch.utils.data.get_worker_info() else samples",
        "tests/batches/test_batches.py tests/api/test_runs.py",
    ),
    "a phase starts from the wrong network": (
        "src/dmtc/engine/networks.py",
        "        load_network(self._folder, model, phase_name, which)",
        "        load_network(self._folder, model, 'r0-' + phase_name[-1], which)",
        "tests/api/test_runs.py tests/engine/test_golden_trajectory.py tests/schedule/test_schedule.py"
        " tests/engine/test_averaging.py tests/evaluation/test_quality.py tests/report/test_run_report.py"
        " tests/prediction/test_predict.py",
    ),
    "a resumed phase starts from the wrong network": (
        "src/dmtc/engine/student.py",
        '        self.model.load_state_dict(state["model"])',
        "",
        "tests/api/test_resume.py",
    ),
    "a network learns from its own pseudo-labels": (
        "src/dmtc/engine/runner.py",
        "            store = self.folder.store(first.label_from)",
        "            store = self.folder.store(first.label_from[:-1] + first.trainee)",
        "tests/api/test_runs.py tests/engine/test_two_models.py tests/api/test_resume.py",
    ),
    "the pass for labelling uses the best weights, not the last": (
        "src/dmtc/engine/networks.py",
        '    def after(self, phase_name: str, which: str = "last")',
        '    def after(self, phase_name: str, which: str = "best")',
        "tests/api/test_runs.py tests/engine/test_averaging.py tests/api/test_resume.py tests/cli/test_cli.py",
    ),
    "the optimizer's momentum is lost at resume": (
        "src/dmtc/engine/student.py",
        '        self.optimizer.load_state_dict(state["optimizer"])',
        "",
        "tests/api/test_resume.py",
    ),
    "after resume the batches start over": (
        "src/dmtc/engine/trainer.py",
        "unlabelled, pseudo_labels, seed, start, self",
        "unlabelled, pseudo_labels, seed + (start > 0), start, self",
        "tests/api/test_resume.py",
    ),
    "a damaged checkpoint is loaded": (
        "src/dmtc/run/checkpoints.py",
        '                if hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.rpartition("-")[2]):',
        "                if True:",
        "tests/api/test_resume.py",
    ),
    "SIGTERM does not save": (
        "src/dmtc/engine/trainer.py",
        "        return bool(signum or due)",
        "        self.context.interruption.check('')\n        return bool(due)",
        "tests/api/test_resume.py",
    ),
    "validation images are trained on": (
        "src/dmtc/engine/trainer.py",
        "        labelled, seed = components.split.subsets[self.phase.trainee], components.config",
        "        labelled, seed = (*components.split.subsets[self.phase.trainee], components.dataset.val[0]),"
        " components.config",
        "tests/api/test_runs.py tests/batches/test_batches.py tests/engine/test_trainer.py tests/api/test_resume.py",
    ),
    "the score of the best weights is reported as the last": (
        "src/dmtc/engine/phase_log.py",
        '            "miou_last": last["miou"],',
        '            "miou_last": max(each["miou"] for each in self.evaluations),',
        "tests/engine/test_trainer.py tests/api/test_runs.py tests/engine/test_averaging.py"
        " tests/engine/test_two_models.py tests/cli/test_cli.py",
    ),
    "the ensemble is network a alone": (
        "src/dmtc/evaluation/evaluate.py",
        "            logits[ensemble] = averaged(logits.values())",
        "            logits[ensemble] = next(iter(logits.values()))",
        "tests/evaluation/test_evaluation.py tests/evaluation/test_protocols.py",
    ),
    "the label ratio is of all classes together": (
        "src/dmtc/pseudo/selection.py",
        "    wanted = (histogram.sum(1) * label_ratio).astype(np.int64)",
        "    wanted = np.full(len(histogram), int(histogram.sum() * label_ratio / len(histogram)))",
        "tests/pseudo tests/evaluation/test_quality.py",
    ),
    "images are flipped, labels are not": (
        "src/dmtc/data/augment/geometry.py",
        "            if flip:\n                part = cv2.flip(part, 1)",
        "            if flip and array.ndim == 3:\n                part = cv2.flip(part, 1)",
        "tests/data/test_augment.py",
    ),
    "the labelled images depend on the seed": (
        "src/dmtc/engine/components.py",
        '            self.config["split"],\n',
        '            {**self.config["split"], "fold": self.config["seed"]},\n',
        "tests/api/test_runs.py",
    ),
    "the subsets of two networks are drawn differently": (
        "src/dmtc/splits/rules.py",
        "    random.Random(_PUBLISHED_SEED + fold).shuffle(order)",
        "    random.Random(_PUBLISHED_SEED + fold + 1).shuffle(order)",
        "tests/splits/test_splits.py",
    ),
    "job=plan writes a file": (
        "src/dmtc/cli/jobs/plan.py",
        "    print(plan_table(",
        "    Path('plan.json').write_text('')\n    print(plan_table(",
        "tests/cli/test_cli.py",
    ),
    "job=check does not exit with 2": (
        "src/dmtc/cli/jobs/check.py",
        "    if check.errors:\n",
        "    if False:\n",
        "tests/checking/test_check.py",
    ),
    "a skipped image is not counted": (
        "src/dmtc/batches/loader.py",
        "            self._skipped[id] += 1",
        "            pass",
        "tests/batches/test_batches.py tests/cli/test_bad_input.py",
    ),
    "two runs write into one folder": (
        "src/dmtc/run/folder.py",
        "            lock.acquire()",
        "            pass",
        "tests/machine/test_many_processes.py",
    ),
    "weights are scored without their average": (
        "src/dmtc/engine/student.py",
        'return self.average.in_place() if which == "average" and self.average is not None else nullcontext()',
        "return nullcontext()",
        "tests/engine/test_averaging.py",
    ),
    "masks of unlabelled images are opened for a teacher within the step": (
        "src/dmtc/batches/samples.py",
        "image = _usable(self.dataset.image, id)\n                crop",
        "image = _usable(self.dataset.sample, id).image\n                crop",
        "tests/batches/test_batches.py",
    ),
    "the average is lost at resume": (
        "src/dmtc/engine/student.py",
        '            self.average.restore(state["average"])',
        "            pass",
        "tests/engine/test_every_teacher_and_mixer.py",
    ),
    "each process mixes its own images alone": (
        "src/dmtc/engine/rows.py",
        "        if self._processes.size == 1:",
        "        if True:",
        "tests/engine/test_every_teacher_and_mixer.py",
    ),
    "masks of unlabelled images are opened for training": (
        "src/dmtc/batches/samples.py",
        "                image = _usable(self.dataset.image, id)\n                label, level",
        "                image = _usable(self.dataset.sample, id).image\n                label, level",
        "tests/api/test_runs.py tests/batches/test_batches.py",
    ),
    "a student that is surer than its teacher learns from it": (
        "src/dmtc/losses/pseudo_label.py",
        "        return predictions.label, weight.masked_fill(predictions.student_wins, 0)\n",
        "        return predictions.label, weight\n",
        "tests/losses",
    ),
    "a loss that is NaN goes on": (
        "src/dmtc/engine/step_metrics.py",
        '            if fault := nonfinite(values["loss"], values[GRADIENT_NORM], f" of phase {phase}"):',
        "            if fault := None:",
        "tests/api/test_resume.py tests/engine/test_trainer.py",
    ),
    "an exported file gives the classes of its first network": (
        "src/dmtc/export/module.py",
        "            total = total + torch.softmax(network(images), dim=1)",
        "            total = total + torch.softmax(self.networks[0](images), dim=1)",
        "tests/export/test_export.py",
    ),
    "predict writes the mask of another picture": (
        "src/dmtc/prediction/predicting.py",
        "zip(batch.ids, pictures, self._predictions(batch.image), strict=True):",
        "zip(batch.ids, pictures, self._predictions(batch.image)[::-1], strict=True):",
        "tests/prediction",
    ),
    "a report's mean leaves a seed out": (
        "src/dmtc/report/sweeps/grouping.py",
        "        return statistics.fmean(self.scores)",
        "        return statistics.fmean(self.scores[:1])",
        "tests/report/test_sweep_report.py",
    ),
    "a gain is over other seeds": (
        "src/dmtc/report/sweeps/paired.py",
        "    mean, won = statistics.fmean(differences)",
        "    mean, won = statistics.fmean(differences[:2])",
        "tests/report/test_sweep_report.py",
    ),
    "a misspelt option is accepted": (
        "src/dmtc/core/registry.py",
        '            faults.append(f"{where}: unknown option {unknown(key, parameters)}")',
        "            pass",
        "tests/core/test_registry.py",
    ),
    "one process of two keeps its own gradient": (
        "src/dmtc/machine/processes.py",
        "                distributed.all_reduce(tensor)",
        "                distributed.all_reduce(tensor.clone())",
        "tests/machine/test_many_processes.py",
    ),
    "resume takes a changed loss": (
        "src/dmtc/run/changes.py",
        '    "run.debug",',
        '    "loss",\n    "run.debug",',
        "tests/api/test_resume.py",
    ),
}


def main() -> None:
    """Break, run, tell."""
    words = sys.argv[1:]
    chosen = {name: of for name, of in PROMISES.items() if not words or any(word in name for word in words)}
    unnoticed = 0
    with tempfile.TemporaryDirectory() as place:
        copy, log = copied(Path(place)), Path(place) / "log.txt"
        for name, (file, old, new, tests) in chosen.items():
            path = copy / file
            source = path.read_text()
            assert source.count(old) == 1, f"{name}: {file} has changed; break it in another place"
            with changed(path, source.replace(old, new)):
                code = in_a_fork(lambda tests=tests: run_pytest(copy, ["-x", *tests.split()]), log, 1800)
            by = "nothing" if code == 0 else first_failure(log) or f"pytest's exit code {code}"
            unnoticed += code == 0
            print(f"{name}: {by}", flush=True)
    raise SystemExit(bool(unnoticed))


if __name__ == "__main__":
    main()
