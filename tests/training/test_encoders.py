from __future__ import annotations

import pytest
from squares import quick

from geoseg.errors import InputError
from geoseg.training.networks import (
    find_photo_scaling,
    list_encoders,
    refuse_unknown_encoder,
    refuse_unknown_network,
)


@pytest.mark.parametrize(
    ("encoder", "near"),
    [
        ("resnet19", "resnet18"),
        ("efficientnetb0", "efficientnet-b0"),
        ("tu-resnet19", "tu-resnet18"),
        ("tu-resnet18.a1_in2k", "tu-resnet18.a1_in1k"),
        ("tu-mobilenet3_small_100", "tu-mobilenetv3_small_100"),
    ],
)
def test_an_unknown_encoder_is_refused_with_the_nearest_names(encoder: str, near: str) -> None:
    with pytest.raises(InputError) as told:
        refuse_unknown_network(quick(architecture="unet", encoder=encoder))
    assert str(told.value).startswith(f"`encoder` {encoder}: unknown; near it are {near}, ")
    assert len(str(told.value)) < 250


def test_where_no_name_is_near_some_are_told() -> None:
    with pytest.raises(InputError, match="`encoder` 42: unknown; some are resnet18, resnet34"):
        refuse_unknown_encoder("42")


@pytest.mark.parametrize("one", ["resnet18", "tu-resnet18", "tu-resnet18.a1_in1k"])
def test_encoders_that_there_are_pass_and_know_their_photographs(one: str) -> None:
    for name in list_encoders(one)[::40]:
        refuse_unknown_encoder(name)
        mean, std = find_photo_scaling(name)
        assert all(0 <= each < 1 for each in mean)
        assert all(0 < each <= 1 for each in std)


@pytest.mark.parametrize(
    "encoder", ["tu-resnet18.a1_in1k", "tu-hf-hub:someone/some", "timm-mobilenetv3_large_100"]
)
def test_other_ways_to_name_an_encoder_pass(encoder: str) -> None:
    refuse_unknown_encoder(encoder)
    assert len(find_photo_scaling(encoder)[0]) == 3


def test_a_plain_network_has_no_encoder_to_ask_for() -> None:
    refuse_unknown_network(quick(architecture="unet-plain", encoder="none"))
