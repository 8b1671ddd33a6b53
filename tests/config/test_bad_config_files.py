"""Files of settings that are cut, odd or hostile: one line with the file, exit code 2, and nothing is run."""

import pytest

HEAD = "# @package _global_\n"
FILES = {
    "bracket": (HEAD + "split: {ratio: 1/4\n", "bracket.yaml:3:1: "),
    "tab": (HEAD + "seed: 1\n\tx: 2\n", "tab.yaml:3:1: found a tab"),
    "latin": (HEAD.encode() + b"tag: \xff\xfe\n", "latin.yaml:2: is not UTF-8 text"),
    "circle": (HEAD + "defaults:\n- /experiment: circle\n", "circle.yaml: its defaults form a circle"),
    "there": (HEAD + "defaults:\n- back\n", "its defaults form a circle"),
    "tag": (HEAD + "tag: !!python/object/apply:os.system [touch ran]\n", "tag.yaml:2:6: the tag !!python/object/apply"),
    "path": (HEAD + "tag: !!python/object/apply:pathlib.Path [x]\n", "path.yaml:2:6: the tag"),
    "forgotten": ("seed: 7\n", "forgotten.yaml: none of its keys reaches a setting"),
    "elsewhere": ("# @package mine\nseed: 7\n", "elsewhere.yaml: none of its keys reaches a setting"),
    "misspelt": (HEAD + "sed: 7\n", "misspelt.yaml: sed: dmtc has no such setting. Did you mean seed"),
    "nested": (HEAD + "training:\n  seed: 7\n", "nested.yaml: training: dmtc has no such setting"),
    "list": ("- a\n", "list.yaml:1: a config file holds `key: value` lines, but this is a list"),
    "text": ("hello\n", "but this is 'hello'"),
    "twice": (HEAD + "seed: 1\nseed: 2\n", "twice.yaml:3:1: the key 'seed' is given twice"),
    "numbers": (HEAD + "1: 2\n", "the key 1 is not a setting name"),
    "inside": (HEAD + "loss:\n  seed: 7\n", "loss: unknown option 'seed'"),
    "wrong": (HEAD + "split: [1]\n", "experiment/wrong"),
    "defaults": (HEAD + "defaults: 5\nseed: 1\n", "error: "),
    "more": (HEAD + "defaults:\n- [a]\n", "error: "),
    "none": (
        HEAD + "defaults:\n- /loss: nothing\n",
        "error: experiment/none: loss=nothing: there is no such choice; choose from ",
    ),
    "laughs": (HEAD + "a: &a [x,x]\n" + "".join(f"b{n}: &b{n} [{9 * f'*b{n - 1},'}]\n" for n in range(1, 9)), ""),
    "deep": (HEAD + "seed: " + 200 * "[" + "\n", "levels of nesting"),
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", FILES)
def test_one_line_that_names_the_file(command, tmp_path, name):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    text, told = FILES[name]
    (folder / f"{name}.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "back.yaml").write_text(HEAD + "defaults:\n- there\n")
    code, out, err = command(f"--config-dir={tmp_path / 'mine'}", f"experiment={name}", "job=plan", small_run=False)
    assert code == 2, out
    assert told in err
    assert len(err.splitlines()) == 1, err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_good_file_is_taken(command, tmp_path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "good.yaml").write_bytes(
        b"\xef\xbb\xbf" + HEAD.encode() + b"schedule:\n  rounds: {label_ratios: [0.5]}\n"
    )
    code, out, err = command(
        f"--config-dir={tmp_path / 'mine'}", "experiment=good", "job=plan", "schedule.limit_steps=2", small_run=False
    )
    assert code == 0, err
    assert "r1-b" in out
    assert "r2-b" not in out


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("+sed=7", "+sed: dmtc has no such setting. Did you mean seed"),
        ("+dataset_root=x", "Did you mean dataset.root"),
        ("+ratio=1/4", "Did you mean split.ratio"),
        ("+mine.gamma=1", "+mine.gamma: dmtc has no such setting"),
        ("+loss.gama=1", "loss: unknown option 'gama'. Did you mean 'gamma'?"),
        ("+run.worker=1", "Did you mean 'workers'?"),
        ("+split.folds=1", "Did you mean 'fold'?"),
        ("+job.show=1", "Did you mean 'shown'?"),
    ],
)
def test_added_keys_that_reach_no_part(command, override, told):
    code, _, err = command("job=check" if "job" in override else "job=plan", override, small_run=False)
    assert code == 2
    assert told in err
    assert len(err.splitlines()) == 1
