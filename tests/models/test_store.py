from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heard import Heard
from made import card, photo

from geoseg.errors import InputError
from geoseg.models import store
from geoseg.models.card import Card
from geoseg.models.precision import make_graph
from geoseg.models.store import (
    CARD_FILE,
    CHECK_FILE,
    CONFIG_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    Model,
    find_cache_folder,
    find_model,
    save_model,
)


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_is_found_by_its_path(tiny_model: Path) -> None:
    model = find_model(str(tiny_model))
    assert model.card == card(weights_sha256=model.weights_sha256)
    assert model.weights == tiny_model / WEIGHTS_FILE
    assert not model.is_onnx


def test_weights_are_found_by_their_path(tiny_model: Path) -> None:
    assert find_model(str(tiny_model / WEIGHTS_FILE)).fingerprint == find_model(str(tiny_model)).fingerprint


def test_a_built_in_name_wins_over_a_stray_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").mkdir()
    assert "default" in store.list_builtin_models()
    assert find_model("default").weights == store.BUILTIN / "default" / WEIGHTS_FILE
    with pytest.raises(InputError, match=r"no built-in model; built in are .*default"):
        find_model("defalt")


@pytest.mark.parametrize("name", ["nobody/nothing", "models/mine"])
def test_a_hub_name_without_a_network_gives_one_line_soon(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(
        InputError, match=f"model {name}: neither a folder nor reachable on the hub"
    ) as caught:
        find_model(name)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "name", ["", "./missing", "/missing/model", "a/b/c", "no spaces here/x y/z", "missing.onnx"]
)
def test_what_is_no_model_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        find_model(name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"model.h5: not a model; give a folder, an .onnx file"):
        find_model(str(path))


def test_a_folder_without_weights_is_refused(copied: Path) -> None:
    (copied / WEIGHTS_FILE).unlink()
    (copied / ONNX_FILE).unlink()
    with pytest.raises(InputError, match=r"copied: holds no model: model.safetensors, model.onnx or a .pth"):
        find_model(str(copied))


def test_a_folder_without_a_card_is_refused(copied: Path) -> None:
    (copied / CARD_FILE).unlink()
    with pytest.raises(InputError, match=r"copied: has no card.json, so nothing says which bands"):
        find_model(str(copied))


def test_other_weights_than_the_cards_are_refused(copied: Path) -> None:
    weights = bytearray((copied / WEIGHTS_FILE).read_bytes())
    weights[-1] ^= 1
    (copied / WEIGHTS_FILE).write_bytes(weights)
    with pytest.raises(InputError, match=r"model.safetensors: damaged or exchanged: its sha256"):
        find_model(str(copied))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("", "Expecting value"),
        ("{'a': 1}", "Expecting property name"),
        ("[1]", "it is not a JSON object"),
        (b"\xff\xff", "can't decode"),
    ],
)
def test_an_architecture_that_cannot_be_read_is_refused(
    copied: Path, content: str | bytes | None, complaint: str
) -> None:
    (copied / CONFIG_FILE).unlink()
    if content is not None:
        (copied / CONFIG_FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        InputError, match=rf"config.json: the model's architecture cannot be read.*{complaint}"
    ):
        find_model(str(copied))


def test_a_card_that_contradicts_its_network_is_refused(copied: Path) -> None:
    rewrite(copied / CONFIG_FILE, in_channels=4)
    with pytest.raises(InputError, match=r"card.json names 3 bands, but config.json a network of 4"):
        find_model(str(copied))
    rewrite(copied / CONFIG_FILE, in_channels=3, classes=2)
    with pytest.raises(InputError, match=r"card.json names 1 outputs \(.*\), but config.json a network of 2"):
        find_model(str(copied))


def test_the_fingerprint_knows_weights_card_and_architecture(copied: Path) -> None:
    prints = [find_model(str(copied)).fingerprint]
    rewrite(copied / CARD_FILE, threshold=0.4)
    prints.append(find_model(str(copied)).fingerprint)
    rewrite(copied / CONFIG_FILE, decoder_attention_type="scse")
    prints.append(find_model(str(copied)).fingerprint)
    rewrite(copied / CARD_FILE, weights_sha256="")
    (copied / WEIGHTS_FILE).write_bytes((copied / WEIGHTS_FILE).read_bytes() + b"\0")
    prints.append(find_model(str(copied)).fingerprint)
    assert len(set(prints)) == 4
    assert find_model(str(copied)).fingerprint == prints[-1]


def test_check_patches_come_back_as_they_were_saved(tiny_model: Path) -> None:
    patches = find_model(str(tiny_model)).check_patches
    assert patches is not None
    np.testing.assert_array_equal(patches, photo(64, 64)[None])


def test_who_may_read_the_card_may_read_the_weights(
    small_unet: Callable[..., Any], saved: Callable[..., Model]
) -> None:
    weights = saved(small_unet()).weights
    assert weights.stat().st_mode == (weights.parent / CARD_FILE).stat().st_mode


def test_a_model_may_do_without_check_patches(copied: Path) -> None:
    (copied / CHECK_FILE).unlink()
    assert find_model(str(copied)).check_patches is None


def test_damaged_check_patches_are_named(copied: Path) -> None:
    (copied / CHECK_FILE).write_bytes((copied / CHECK_FILE).read_bytes()[:300])
    with pytest.raises(InputError, match=r"check.npy: not an array that can be read"):
        find_model(str(copied)).check_patches  # noqa: B018
    np.save(copied / CHECK_FILE, photo(64, 64, 4)[None])
    with pytest.raises(InputError, match=r"check.npy: holds \(1, 4, 64, 64\), not square patches of 3 bands"):
        find_model(str(copied)).check_patches  # noqa: B018


def test_saving_again_leaves_nothing_of_the_former_model(copied: Path, small_unet: Any) -> None:
    (copied / "README.md").write_text("mine")
    model = save_model(copied, small_unet(), card(name="second"))
    assert model.check_patches is None
    assert Card.read(copied / CARD_FILE).name == "second"
    assert (copied / "README.md").read_text() == "mine"
    assert {path.name for path in copied.iterdir()} == {"README.md", CARD_FILE, CONFIG_FILE, WEIGHTS_FILE}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEOSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def find_onnx(folder: Path) -> Path:
    """The ONNX file of a model, made if there is none."""
    model = find_model(str(folder))
    make_graph(model)
    return model.onnx


@pytest.fixture
def conversions(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were made of a model; what is in them is another test's affair."""
    from geoseg.models import export

    made: list[Path] = []

    def write(model: Model, path: Path) -> None:
        made.append(path)
        onnx = pytest.importorskip("onnx")
        document = onnx.load(store.BUILTIN / "default" / ONNX_FILE)
        del document.metadata_props[:]
        document.metadata_props.add(key=store.SOURCE_KEY, value=model.network_sha256)
        onnx.save(document, path)

    monkeypatch.setattr(export, "write_model_onnx", write)
    return made


def test_the_file_beside_the_weights_is_used(copied: Path, conversions: list[Path], heard: Heard) -> None:
    assert find_model(str(copied)).onnx == copied / ONNX_FILE
    rewrite(copied / CARD_FILE, threshold=0.4, description="other words", patch=96)
    assert find_model(str(copied)).onnx == copied / ONNX_FILE
    assert find_model(str(copied / ONNX_FILE)).weights == copied / WEIGHTS_FILE
    assert not conversions
    assert not heard.lines


def test_the_file_does_without_its_weights(copied: Path) -> None:
    (copied / WEIGHTS_FILE).unlink()
    model = find_model(str(copied))
    assert model.onnx == model.weights == copied / ONNX_FILE
    rewrite(copied / CARD_FILE, weights_sha256="0" * 64)
    with pytest.raises(InputError, match=r"model.onnx: damaged or exchanged: its sha256"):
        find_model(str(copied))


@pytest.mark.parametrize("change", ["weights", "architecture", "derived", "damaged", "foreign"])
def test_a_file_that_is_of_another_network_is_not_used(
    copied: Path, conversions: list[Path], heard: Heard, change: str
) -> None:
    onnx_file = copied / ONNX_FILE
    if change == "weights":
        rewrite(copied / CARD_FILE, weights_sha256="")
        (copied / WEIGHTS_FILE).write_bytes((copied / WEIGHTS_FILE).read_bytes() + b"\0")
    elif change == "architecture":
        rewrite(copied / CONFIG_FILE, decoder_attention_type="scse")
    elif change == "derived":
        rewrite(copied / CONFIG_FILE, in_channels=4)
        rewrite(copied / CARD_FILE, derived=[{"name": "sum", "formula": "red + green"}])
    elif change == "damaged":
        onnx_file.write_bytes(onnx_file.read_bytes()[:1000])
    else:
        onnx_file.write_bytes((store.BUILTIN / "default" / ONNX_FILE).read_bytes())
    assert find_onnx(copied) == conversions[0]
    assert heard.warnings == [f"{onnx_file}: not used, since it was not made from this model.safetensors"]


def test_a_model_is_converted_once(copied: Path, cache: Path, conversions: list[Path], heard: Heard) -> None:
    (copied / ONNX_FILE).unlink()
    kept = find_onnx(copied)
    assert kept == find_onnx(copied) == conversions[0]
    assert kept.parent == cache / "onnx"
    assert len(conversions) == 1
    assert heard.lines == ["Model   tiny is converted for the CPU, once"]


def test_a_damaged_cache_is_replaced(copied: Path, conversions: list[Path]) -> None:
    (copied / ONNX_FILE).unlink()
    kept = find_onnx(copied)
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    assert find_onnx(copied).read_bytes() == whole
    assert len(conversions) == 2


def test_a_cache_that_cannot_be_written_does_no_harm(
    copied: Path, cache: Path, conversions: list[Path]
) -> None:
    cache.write_text("a file where the folder should be")
    (copied / ONNX_FILE).unlink()
    assert find_onnx(copied).exists()
    assert find_onnx(copied) == conversions[0]
    assert cache.is_file()


def test_the_cache_lies_where_the_user_wants_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_cache_folder() == cache
    monkeypatch.delenv("GEOSEG_CACHE")
    assert find_cache_folder().name == "geoseg"


def test_without_torch_a_model_to_convert_is_named_with_the_command_that_brings_it(
    copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / ONNX_FILE).unlink()
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "geoseg.models.export", raising=False)
    with pytest.raises(InputError) as caught:
        find_onnx(copied)
    assert str(caught.value).startswith(
        f"{copied / WEIGHTS_FILE}: has no model.onnx beside it; making one needs torch"
    )
    assert str(caught.value).endswith('which is not installed: pip install "geoseg[torch]"')
    assert not cache.exists() or not any(cache.rglob("*.onnx"))


def test_weights_that_cannot_be_read_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(.+\); get it again"):
        _ = Model("folder", card(), tmp_path).weights_sha256
