"""One step of each published online method, from given logits: losses and gradients through the public pieces."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dmtc.core.types import IGNORE_INDEX, Batch
from dmtc.losses import (
    CrossEntropy,
    HardPixelCrossEntropy,
    KLDivergence,
    MeanSquaredError,
    SelectedCrossEntropy,
)
from dmtc.losses.propagation import propagated

PEERS = Path(__file__).parents[1] / "golden" / "peers"


class Golden:
    """The arrays of one file as tensors."""

    def __init__(self, name):
        self.arrays = np.load(PEERS / f"{name}.npz")

    def __getitem__(self, key):
        return torch.from_numpy(self.arrays[key])

    def leaf(self, key):
        return self[key].requires_grad_()

    def number(self, key):
        return self.arrays[key].item()


def labelled_by(logits, ignored=None):
    """A batch as a teacher labels it; `ignored` is 255 in the padding."""
    confidence, label = logits.softmax(1).max(1)
    if ignored is not None:
        label = label.where(ignored != IGNORE_INDEX, IGNORE_INDEX)
    image = torch.zeros(len(logits), 3, *logits.shape[2:], dtype=torch.uint8)
    return Batch(image, label, confidence, torch.ones(len(logits), dtype=torch.bool), ("",) * len(logits))


def selected(divisor, **selection):
    return SelectedCrossEntropy(selection=selection, divisor=divisor)


def confident(threshold, divisor="valid"):
    """The threshold; one above 1, which no option allows, lets nothing through."""
    if threshold > 1:
        return lambda logits, label, confidence: confident(1.0, divisor)(logits, label, 0 * confidence)
    return selected(divisor, name="threshold", threshold=max(threshold, 0.0))


def on(loss, logits, batch):
    return loss(logits, batch.label, batch.confidence)


def close(value, expected):
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), rtol=1e-5, atol=1e-7)


def supervised(golden, logits, case):
    loss = HardPixelCrossEntropy(threshold=0.7, min_kept=200) if case == "city" else CrossEntropy()
    return loss(logits, golden["mask_x"]).loss


@pytest.mark.parametrize("case", ["voc", "zero"])
def test_fixmatch(case):
    golden = Golden("fixmatch_v1_step")
    x, strong = golden.leaf("logits_x"), golden.leaf("logits_u_s1")
    weak = labelled_by(golden["logits_u_w"], golden["ignore_mask"])
    other = labelled_by(golden["logits_u_w_mix"], golden["ignore_mask_mix"])
    mixed = weak.pasted(golden["cutmix_box1"] == 1, other)
    term = on(confident(golden.number(f"{case}_threshold")), strong, mixed).loss
    total = (supervised(golden, x, case) + term) / 2
    total.backward()
    close(term, golden[f"{case}_loss_u_s"])
    close(total, golden[f"{case}_loss"])
    close(x.grad, golden[f"{case}_grad_x"])
    close(strong.grad, golden[f"{case}_grad_u_s"])


@pytest.mark.parametrize("case", ["voc", "city", "half", "none_pass"])
def test_unimatch(case):
    golden = Golden("unimatch_v1_step")
    x, first, second, dropped = (golden.leaf(f"logits_{name}") for name in ("x", "u_s1", "u_s2", "u_fp"))
    weak = labelled_by(golden["logits_u_w"], golden["ignore_mask"])
    other = labelled_by(golden["logits_u_w_mix"], golden["ignore_mask_mix"])
    loss = confident(golden.number(f"{case}_threshold"))
    mixes = [weak.pasted(golden[f"cutmix_box{view}"] == 1, other) for view in (1, 2)]
    terms = [on(loss, first, mixes[0]), on(loss, second, mixes[1]), on(loss, dropped, weak)]
    s1, s2, fp = (term.loss for term in terms)
    total = (supervised(golden, x, case) + 0.25 * s1 + 0.25 * s2 + 0.5 * fp) / 2
    total.backward()
    for value, name in [(s1, "loss_u_s1"), (s2, "loss_u_s2"), (fp, "loss_u_w_fp"), (total, "loss")]:
        close(value, golden[f"{case}_{name}"])
    for logits, name in [(x, "x"), (first, "u_s1"), (second, "u_s2"), (dropped, "u_fp")]:
        close(logits.grad, golden[f"{case}_grad_{name}"])
    if case != "none_pass":
        close(terms[2].logs["kept"], golden[f"{case}_mask_ratio"])
    np.testing.assert_array_equal(mixes[0].label == IGNORE_INDEX, golden["out_ignore_mask_cutmixed1"] == IGNORE_INDEX)


@pytest.mark.parametrize("case", ["voc", "city", "half", "none_pass"])
def test_unimatch_v2(case):
    golden = Golden("unimatch_v2_step")
    x, first, second = (golden.leaf(f"logits_{name}") for name in ("x", "u_s1", "u_s2"))
    weak = labelled_by(golden["logits_u_w"], golden["ignore_mask"])
    loss = confident(golden.number(f"{case}_threshold"))
    mixes = [weak.pasted(golden[f"cutmix_box{view}"] == 1, weak.ordered([1, 0])) for view in (1, 2)]
    s1, s2 = on(loss, first, mixes[0]).loss, on(loss, second, mixes[1]).loss
    total = (supervised(golden, x, case) + (s1 + s2) / 2) / 2
    total.backward()
    close(total, golden[f"{case}_loss"])
    for logits, name in [(x, "x"), (first, "u_s1"), (second, "u_s2")]:
        close(logits.grad, golden[f"{case}_grad_{name}"])


def test_cross_pseudo_supervision():
    golden = Golden("cps_step")
    left, right = (torch.cat([golden[f"sup_{side}"], golden[f"unsup_{side}"]]).requires_grad_() for side in "lr")
    loss = selected("all", name="everything")
    cross = on(loss, left, labelled_by(right.detach())).loss + on(loss, right, labelled_by(left.detach())).loss
    close(1.5 * cross, golden["voc_cps_loss"])
    supervised = sum(CrossEntropy()(side[:2], golden["label"]).loss for side in (left, right))
    total = supervised + 1.5 * cross
    close(total, golden["voc_loss"])
    total.backward()
    for side, logits in (("l", left), ("r", right)):
        close(logits.grad, torch.cat([golden[f"voc_grad_sup_{side}"], golden[f"voc_grad_unsup_{side}"]]))


@pytest.mark.parametrize(("case", "weight"), [("voc", 1.0), ("city", 5.0)])
def test_cross_pseudo_supervision_of_mixed_images(case, weight):
    golden = Golden("cps_step")
    one, two = golden.leaf("cutmix_s1"), golden.leaf("cutmix_s2")
    pasted = golden["cutmix_mask"][:, 0] == 1
    mixed = [torch.where(pasted[:, None], golden[f"cutmix_t{net}_u1"], golden[f"cutmix_t{net}_u0"]) for net in (1, 2)]
    loss = selected("all", name="everything")
    cross = on(loss, one, labelled_by(mixed[1])).loss + on(loss, two, labelled_by(mixed[0])).loss
    close(weight * cross, golden[f"cutmix_{case}_cps_loss"])
    (weight * cross).backward()
    close(one.grad, golden[f"cutmix_{case}_grad_s1"])
    close(two.grad, golden[f"cutmix_{case}_grad_s2"])


def test_mean_teacher():
    golden = Golden("cps_step")
    labelled, unlabelled = golden.leaf("sup_l"), golden.leaf("unsup_l")
    student, teacher = torch.cat([labelled, unlabelled]), torch.cat([golden["sup_r"], golden["unsup_r"]])
    label = torch.full((len(student), *student.shape[2:]), IGNORE_INDEX)
    squared = MeanSquaredError(divisor="all")(student, label, teacher)
    close(100 * squared.loss, golden["mt_csst_loss"])
    total = CrossEntropy()(labelled, golden["label"]).loss + 100 * squared.loss
    total.backward()
    close(total, golden["mt_loss"])
    close(labelled.grad, golden["mt_grad_sup_l"])
    close(unlabelled.grad, golden["mt_grad_unsup_l"])


@pytest.mark.parametrize("threshold", [85, 55])
def test_corrmatch(threshold):
    golden, case = Golden("corrmatch"), f"step_t{threshold}"
    names = ("x", "x_corr", "u_s1", "u_s1_corr", "u_w_corr", "u_fp")
    logits = {name: golden.leaf(f"step_in_logits_{name}") for name in names}
    weak = labelled_by(golden["step_in_logits_u_w"], golden["step_in_ignore_mask"])
    other = labelled_by(golden["step_in_logits_u_w_mix"], golden["step_in_ignore_mask_mix"])
    pasted = golden["step_in_cutmix_box1"] == 1
    mixed = weak.pasted(pasted, other)
    # The step's threshold is of the labels before the paste, which ours is not.
    after = golden.number(f"{case}_thresh_global")
    bits = np.unpackbits(golden.arrays["step_in_corr_map_bits"], axis=-1)
    regions = torch.from_numpy(bits).bool() & ~pasted[:, None]
    label, reached = propagated(mixed.label, mixed.confidence >= after, regions, after, 7)
    spread = replace(mixed, label=label, confidence=mixed.confidence.where(~reached, 1.0))

    loss = confident(after)
    soft = KLDivergence(selection={"name": "threshold", "threshold": after}, divisor="valid")
    # Its code compares the mixed view with the teacher's logits of the view that is not mixed.
    kl = soft(logits["u_s1"], mixed.label, mixed.confidence, golden["step_in_logits_u_w"]).loss
    s1, corr_s = on(loss, logits["u_s1"], spread).loss, on(loss, logits["u_s1_corr"], spread).loss
    corr_w, fp = on(loss, logits["u_w_corr"], weak).loss, on(loss, logits["u_fp"], weak).loss
    x, x_corr = (CrossEntropy()(logits[name], golden["step_in_mask_x"]).loss for name in ("x", "x_corr"))
    total = (0.5 * (x + x_corr) + 0.25 * (s1 + kl + fp) + 0.125 * (corr_s + corr_w)) / 2
    total.backward()
    terms = {"u_s1": s1, "u_corr_s": corr_s, "u_corr_w": corr_w, "u_w_fp": fp, "u_kl": kl, "x": x, "x_corr": x_corr}
    for name, value in terms.items():
        close(value, golden[f"{case}_loss_{name}"])
    close(total, golden[f"{case}_loss"])
    for name in ("u_s1", "u_s1_corr"):
        close(logits[name].grad, golden[f"{case}_grad_{name}"])


@pytest.mark.parametrize("case", ["s97", "s70", "s0", "none", "one_void", "all_void"])
def test_mean_teacher_of_reco(case):
    golden = Golden("reco_unsupervised")
    logits, label, confidence = golden.leaf("logits"), golden["target"], golden["confidence"].clone()
    label = label.where(label >= 0, IGNORE_INDEX)
    if case == "one_void":
        label[2] = IGNORE_INDEX
    if case == "all_void":
        label[:] = IGNORE_INDEX
    if case == "none":
        confidence *= 0.5
    threshold = {"s70": 0.7, "s0": 0.0}.get(case, 0.97)
    loss = selected("ce_positive", name="image_share", threshold=threshold, count_ignored=True)
    value = loss(logits, label, confidence)
    value.loss.backward()
    close(value.loss, 0.0 if case == "all_void" else golden[f"{case}_loss"])
    if f"{case}_grad" in golden.arrays:
        close(logits.grad, golden[f"{case}_grad"])
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("kept", ["80", "90", "97_5", "100"])
def test_entropy_percentile_of_u2pl(kept):
    golden = Golden("u2pl")
    logits, probabilities = golden.leaf("logits"), golden["teacher"].softmax(1)
    drop = 100 - float(kept.replace("_", "."))
    loss = selected("kept_rescaled", name="entropy_percentile", start_drop=2 * drop, end_drop=0.0)
    entropy = -(probabilities * probabilities.log()).sum(1)
    value = loss(logits, golden["target"], probabilities.amax(1), entropy, progress=0.5)
    value.loss.backward()
    close(value.loss, golden[f"p{kept}_loss"])
    close(logits.grad, golden[f"p{kept}_grad"])
    assert value.divisor == golden[f"p{kept}_kept"].sum()


@pytest.mark.parametrize("case", ["0_95", "0_7", "m0_1", "1_01"])
def test_augseg(case):
    golden = Golden("augseg")
    logits = golden.leaf("logits")
    threshold = float(case.replace("m", "-").replace("_", "."))
    value = confident(threshold, divisor="all")(logits, golden["target"], golden["confidence"])
    value.loss.backward()
    close(value.loss, golden[f"t{case}_loss"])
    close(logits.grad, golden[f"t{case}_grad"])


@pytest.mark.parametrize("case", ["t70_k200", "t70_k1", "t30_k400", "t70_k1000000", "t5_k300"])
def test_hard_pixels(case):
    golden = Golden("ohem")
    logits = golden.leaf("logits")
    threshold, kept = (int(part[1:]) for part in case.split("_"))
    value = HardPixelCrossEntropy(threshold=threshold / 100, min_kept=kept)(logits, golden["target"])
    value.loss.backward()
    close(value.loss, golden[f"{case}_loss"])
    close(logits.grad, golden[f"{case}_grad"])


NORMALIZERS = {
    "pixelwise": selected("valid", name="threshold", threshold=0.9),
    "pixelratio": selected("valid", name="image_share", threshold=0.9, count_ignored=False),
    "pixelavg": selected("valid", name="image_mean", summed=True),
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers_of_prevmatch(name):
    golden = Golden("prevmatch")
    logits = golden.leaf("logits_u_s1")
    batch = labelled_by(golden["logits_u_w"], golden["ignore_mask"])
    value = on(NORMALIZERS[name], logits, batch)
    value.loss.backward()
    # The published code divides by the valid pixels, and two of the three learn from padding besides.
    expected, padding = golden[f"{name}_grad"], (batch.label == IGNORE_INDEX)[:, None]
    close(logits.grad, expected.where(~padding, 0))
    assert (name == "pixelwise") == (expected.where(padding, 0) == 0).all()
    if name == "pixelwise":
        close(value.loss, golden["pixelwise_loss"])


@pytest.mark.parametrize("case", ["first", "voc", "city"])
def test_prevmatch(case):
    golden = Golden("prevmatch")
    x, first, second, dropped = (golden.leaf(f"logits_{name}") for name in ("x", "u_s1", "u_s2", "u_fp"))
    sure, previous = {
        "city": (confident(0.0), selected("valid", name="image_mean", summed=True)),
    }.get(case, (confident(0.95), confident(0.9)))

    def views(loss, weak_logits, mix_logits):
        weak = labelled_by(golden[weak_logits], golden["ignore_mask"])
        other = labelled_by(golden[mix_logits], golden["ignore_mask_mix"])
        one, two = (weak.pasted(golden[f"cutmix_box{view}"] == 1, other) for view in (1, 2))
        terms = [on(loss, first, one), on(loss, second, two), on(loss, dropped, weak)]
        return sum(share * term.loss for share, term in zip((0.25, 0.25, 0.5), terms, strict=True))

    weight = 0.0 if case == "first" else golden.number(f"step_{case}_lambda")
    standard = views(sure, "logits_u_w", "logits_u_w_mix")
    earlier = weight * views(previous, "logits_prev", "logits_prev_mix")
    total = (CrossEntropy()(x, golden["mask_x"]).loss + standard + earlier) / (2 + weight)
    total.backward()
    close(standard, golden[f"step_{case}_loss_standard"])
    if case == "voc":
        close(earlier, golden["step_voc_loss_prev"])
    if case != "city":
        close(total, golden[f"step_{case}_total_loss"])
    # In `pixelavg`, the published code learns from padding besides.
    pasted = golden["cutmix_box1"] == 1
    padding = golden["ignore_mask_mix"].where(pasted, golden["ignore_mask"]) == IGNORE_INDEX
    close(first.grad, golden[f"step_{case}_grad_u_s1"].where(~padding[:, None], 0))
