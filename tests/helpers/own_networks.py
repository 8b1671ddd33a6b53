"""Networks and a loss of a user's own, for `imports=[own_networks]`."""

import os

from torch import nn

from dmtc.losses import LOSSES
from dmtc.models import BACKBONES
from dmtc.models.base import Backbone
from dmtc.models.normalization import imagenet


class Plain(Backbone):
    "What it makes of an image depends on no other image of the batch."

    stride = 4
    dropout = 0.0

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.channels, self.normalization = width, imagenet()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=4, padding=2),
            nn.GroupNorm(2, width),
            nn.ReLU(),
            nn.Dropout2d(self.dropout),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(2, width),
            nn.ReLU(),
        )

    def forward(self, images):
        return self.layers(images)


class Poison:
    "Not a number in the second step of the second process."

    calls = 0

    def __call__(self, logits):
        self.calls += 1
        return logits.mean() * (float("nan") if self.calls == 2 and os.environ["RANK"] == "1" else 0.0)


LOSSES.register("poison")(Poison)


@BACKBONES.register("plain")
class WithoutDropout(Plain):
    pass


@BACKBONES.register("dropping")
class WithDropout(Plain):
    dropout = 0.5
