"""A U-Net of our own, trained from scratch: the baseline that other architectures have to beat."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

GROUPS = 8


class PlainUnet(nn.Module):
    """The U-Net as first drawn: two convolutions a level, `width` channels at the top, doubled at each step down.

    It normalises in groups of channels, so that its answers depend on no other patch of the batch.
    """

    def __init__(
        self, in_channels: int = 3, classes: int = 1, encoder_depth: int = 4, width: int = 32
    ) -> None:
        super().__init__()
        if width % GROUPS or width < GROUPS or encoder_depth < 1:
            raise ValueError(f"width must be a multiple of {GROUPS} and encoder_depth at least 1")
        self.config = {
            "in_channels": in_channels,
            "classes": classes,
            "encoder_depth": encoder_depth,
            "width": width,
        }
        widths = [width * 2**level for level in range(encoder_depth + 1)]
        self.encoder = nn.ModuleList(map(make_double_convolution, [in_channels, *widths[:-1]], widths))
        self.upward = nn.ModuleList(
            nn.ConvTranspose2d(2 * channels, channels, 2, 2) for channels in widths[-2::-1]
        )
        self.decoder = nn.ModuleList(
            make_double_convolution(2 * channels, channels) for channels in widths[-2::-1]
        )
        self.segmentation_head = nn.Conv2d(width, classes, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        levels = [self.encoder[0](inputs)]
        for level in self.encoder[1:]:
            levels.append(level(nn.functional.max_pool2d(levels[-1], 2)))
        answer = levels.pop()
        for upward, join in zip(self.upward, self.decoder, strict=True):
            answer = join(torch.cat([levels.pop(), upward(answer)], dim=1))
        logits: Tensor = self.segmentation_head(answer)
        return logits

    def save_pretrained(self, folder: Path) -> None:
        """Write weights and architecture, as networks of segmentation_models_pytorch do."""
        from safetensors.torch import save_file

        save_file(
            {name: value.contiguous() for name, value in self.state_dict().items()},
            folder / "model.safetensors",
        )
        config = {"_model_class": type(self).__name__, **self.config}
        (folder / "config.json").write_text(
            json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n"
        )


def make_double_convolution(bands: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        *make_convolution(bands, channels),
        *make_convolution(channels, channels),
    )


def make_convolution(bands: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(bands, channels, 3, padding=1, bias=False),
        nn.GroupNorm(GROUPS, channels),
        nn.ReLU(inplace=True),
    ]
