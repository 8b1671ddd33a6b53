"""A sweep in a notebook: tables and figures of many runs."""

import json
import os
import re
import shutil

import pytest

import dmtc
from dmtc.core.errors import DataError


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """Two methods, two ratios, two seeds; dmtc is 2 or 4 points above the baseline."""
    folder = tmp_path_factory.mktemp("sweep")
    for method, gain in (("supervised", 0), ("dmtc", 0.02)):
        for labelled, ratio in ((3, "1/8"), (6, "1/4")):
            for seed in (0, 1):
                run = folder / f"{method}-{labelled}-{seed}"
                shutil.copytree(finished.folder.path, run, copy_function=os.link)
                results = json.loads((run / "results.json").read_text()) | {"method": method, "seed": seed}
                results["split"] |= {"ratio": ratio, "labelled": labelled}
                results["miou"]["mean_last"] = 0.3 + 0.01 * seed + gain * (1 + seed)
                (run / "results.json").unlink()
                (run / "results.json").write_text(json.dumps(results))
    return folder


def test_it_shows_its_tables(folder):
    html = dmtc.Sweep(folder)._repr_html_()
    assert html.count("<table>") == 2
    assert re.search(r"<td>dmtc</td><td>33\.5 ± 2\.1</td><td>33\.5 ± 2\.1</td>", html)
    assert html.count("<td>+3.0 [") == 2
    assert "paired t-test" in html


def test_figures(folder):
    plot = dmtc.Sweep(folder).plot
    for figure in (plot.scores(), plot.gains(), plot.classes()):
        assert figure._repr_png_().startswith(b"\x89PNG")
    (axes,) = plot.gains().axes
    assert axes.get_title(loc="left") == "gain over supervised, points of mIoU"
    assert [line.get_xdata().tolist() for line in axes.get_lines() if line.get_marker() == "D"] == [
        [pytest.approx(3.0)], [pytest.approx(3.0)],
    ]  # fmt: skip


def test_what_there_is_not_is_told(finished, folder, tmp_path):
    with pytest.raises(DataError, match="no gains: no runs of dmt with"):
        dmtc.Sweep(folder, baselines=["dmt"]).plot.gains()
    with pytest.raises(DataError, match="no such folder"):
        dmtc.Sweep(tmp_path / "nowhere")
    shutil.copytree(finished.folder.path, tmp_path / "run", copy_function=os.link)
    (tmp_path / "run" / "results.json").unlink()
    with pytest.raises(DataError, match="no finished run below"):
        dmtc.Sweep(tmp_path)


def test_a_run_that_is_not_finished_is_told(finished, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "sweep", copy_function=os.link)
    (tmp_path / "sweep" / "dmtc-3-0" / "results.json").unlink()
    assert "<p>dmtc-3-0 is unfinished" in dmtc.Sweep(tmp_path / "sweep")._repr_html_()


def test_the_report_is_that_of_the_command(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "sweep", copy_function=os.link)
    page = dmtc.Sweep(tmp_path / "sweep").report()
    assert page == tmp_path / "sweep" / "report.html"
    assert "gain" in page.read_text()
