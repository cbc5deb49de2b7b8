from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made import card

from geoseg.cli.main import geoseg
from geoseg.models import store
from geoseg.models.card import Scaling
from geoseg.raster.palette import ClassEntry


def models(*arguments: object) -> Result:
    return CliRunner().invoke(geoseg, ["models", *map(str, arguments)])


def test_the_list_has_a_line_a_model() -> None:
    run = models("list")
    assert run.exit_code == 0, run.output
    heading, *lines = run.stdout.splitlines()
    assert heading.split() == ["model", "pixels", "classes", "licence", "size"]
    default = next(line for line in lines if line.startswith("default "))
    assert "0.3 m" in default
    assert "building" in default
    assert default.endswith("MB")


def test_the_list_can_be_read_by_programs() -> None:
    listed = json.loads(models("list", "--json").stdout)["models"]
    size = (store.BUILTIN / "default" / store.WEIGHTS_FILE).stat().st_size
    expected = {
        "name": "default",
        "gsd_m": 0.3,
        "classes": ["building"],
        "licence": store.find_model("default").card.licence,
        "size_mb": round(size / 1e6, 1),
    }
    assert expected in listed


def test_what_ships_with_geoseg_can_be_shown() -> None:
    names = store.list_builtin_models()
    assert [entry["name"] for entry in json.loads(models("list", "--json").stdout)["models"]] == names
    for name in names:
        run = models("show", name)
        assert run.exit_code == 0, run.output


def test_a_card_is_shown_as_it_is_to_programs(tiny_model: Path) -> None:
    run = models("show", tiny_model, "--json")
    assert json.loads(run.stdout) == json.loads((tiny_model / store.CARD_FILE).read_text())


def test_a_card_is_shown_to_people_in_full(copied_card: Path) -> None:
    run = models("show", copied_card)
    assert run.exit_code == 0, run.output
    for part in (
        "Houses and halls from the air.", "red, green, blue", "0.3 m a pixel; tolerates 0.15 to 0.6 m", "64 x 64 pixels",
        "0     #000000  background", "1     #e4572e  house", "10 m²", "0 to 255 becomes 0 to 1; in a scene",
        "1 to 99 percentiles", "mean 0.4, std 0.2", "CC-BY-4.0", "Example towns; attribution: © Example", "Takes greenhouses",
        "iou: 0.8123",
        "per place: Town: 0.8; Village: 0.7", "temperature: 1.2", "epochs: 20",
    ):  # fmt: skip
        assert part in run.stdout, part
    assert "Threshold" not in run.stdout


@pytest.fixture
def copied_card(tiny_model: Path, tmp_path: Path) -> Path:
    """A folder with a card that says everything, beside the smallest of ONNX files' stand-ins: its weights are not read."""
    full = card(
        description="Houses and halls from the air.",
        classes=(
            ClassEntry("background", "#000000"),
            ClassEntry("house", "#e4572e"),
            ClassEntry("hall", "#4c9f70"),
        ),
        activation="softmax",
        min_area_m2=10.0,
        scaling=Scaling(mean=(0.4,), std=(0.2,)),
        licence="CC-BY-4.0",
        sources=({"name": "Example towns", "attribution": "© Example"},),
        known_failures=("Takes greenhouses for houses.",),
        metrics={"iou": 0.81234, "per place": {"Town": 0.8, "Village": 0.7}},
        calibration={"temperature": 1.2},
        training={"epochs": 20},
    )
    (tmp_path / store.CARD_FILE).write_text(full.to_json(), encoding="utf-8")
    (tmp_path / store.ONNX_FILE).write_bytes(b"not read")
    return tmp_path


def test_a_model_becomes_onnx_once(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    out = tmp_path / "tiny.onnx"
    run = models("export", tiny_model, "--to", out, "--json")
    assert run.exit_code == 0, run.output
    summary = json.loads(run.stdout)
    assert summary["onnx"] == str(out)
    assert 0 <= summary["largest_difference"] < 1e-5
    assert "differ from the model's by" in run.stderr
    assert models("show", out).exit_code == 0
    before = out.read_bytes()
    refused = models("export", tiny_model, "--to", out)
    assert refused.exit_code == 2
    assert refused.stderr == f"Error: --to {out}: exists already; use --overwrite to replace it\n"
    assert out.read_bytes() == before
    assert models("export", out, "--to", tmp_path / "again.onnx").exit_code == 2


@pytest.mark.parametrize("arguments", [["show", "missing"], ["export", "missing", "--to", "model.onnx"]])
def test_a_missing_model_gives_one_line(arguments: list[str]) -> None:
    run = models(*arguments)
    assert run.exit_code == 2
    assert run.stderr.startswith("Error: model missing: no such folder and no built-in model; built in are")
    assert run.stderr.count("\n") == 1


def test_export_needs_to_know_where_to(tiny_model: Path) -> None:
    run = models("export", tiny_model)
    assert run.exit_code == 2
    assert "--to" in run.stderr


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "MODEL"], ["show", "MODEL", "--json"], ["export", "--help"]]
)
def test_looking_is_quick(tiny_model: Path, arguments: list[str]) -> None:
    given = [argument.replace("MODEL", str(tiny_model)) for argument in arguments]
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from geoseg.cli.main import geoseg\n"
        f"assert CliRunner().invoke(geoseg, ['models', *{given}]).exit_code == 0\n"
        "print(sorted({'torch', 'openvino', 'rasterio', 'huggingface_hub'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", out.stderr
