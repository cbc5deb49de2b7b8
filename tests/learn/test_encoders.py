from __future__ import annotations

import pytest
from squares import quick

from geoseg.errors import InputError
from geoseg.learn.encoders import encoder_names, refuse_unknown_encoder
from geoseg.learn.training.networks import refuse_unknown


@pytest.mark.parametrize(
    ("encoder", "near"),
    [
        ("resnet19", "resnet18"),
        ("efficientnetb0", "efficientnet-b0"),
        ("tu-resnet19", "tu-resnet18"),
        ("tu-mobilenet3_small_100", "tu-mobilenetv3_small_100"),
    ],
)
def test_an_unknown_encoder_is_refused_with_the_nearest_names(encoder: str, near: str) -> None:
    with pytest.raises(InputError) as told:
        refuse_unknown(quick(architecture="unet", encoder=encoder))
    assert str(told.value).startswith(f"--encoder {encoder}: unknown; near it are {near}, ")
    assert len(str(told.value)) < 250


def test_where_no_name_is_near_some_are_told() -> None:
    with pytest.raises(InputError, match="--encoder 42: unknown; some are resnet18, resnet34"):
        refuse_unknown_encoder("42")


@pytest.mark.parametrize("of_timm", [False, True])
def test_encoders_that_there_are_pass(of_timm: bool) -> None:
    for name in encoder_names(of_timm)[::20]:
        refuse_unknown_encoder(name)


@pytest.mark.parametrize(
    "encoder", ["tu-resnet18.a1_in1k", "tu-hf-hub:someone/some", "timm-mobilenetv3_large_100"]
)
def test_other_ways_to_name_an_encoder_pass(encoder: str) -> None:
    refuse_unknown_encoder(encoder)


def test_a_plain_network_has_no_encoder_to_ask_for() -> None:
    refuse_unknown(quick(architecture="unet-plain", encoder="none"))
