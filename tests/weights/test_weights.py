"""Weights: the round trip, the embedded ones, the schema, and all ways to be wrong."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save

from damgan_cli.errors import WeightsError
from damgan_cli.model import Generator, GeneratorConfig
from damgan_cli.training.card import model_card
from damgan_cli.training.config import BEST
from damgan_cli.weights.find import DEFAULT_WEIGHTS, available_weights, load_weights
from damgan_cli.weights.folder import annotate_weights, save_weights
from damgan_cli.weights.format import SCHEMA, mismatch, parameter_count
from tests.weights.small import SMALL

FIRST_VERSION = {
    "name": "tiny", "damgan_version": "0.1.0", "preset": "best", "data": ["faces"], "photos": 55700,
    "validation_photos": 100, "init": None, "seed": 0, "training": BEST.to_dict(), "images_seen": 100_000,
    "hours": 1.5, "validation": {"val_center_psnr": 24.5, "val_center_ssim": 0.85,
                                 "val_irregular_psnr": 26.25, "val_irregular_ssim": 0.83},
}  # fmt: skip
"""What a training adds to ``config.json``."""


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_weights(tmp_path / "tiny", Generator(SMALL), {"name": "tiny"}, "# tiny\n")
    return tmp_path / "tiny"


def test_round_trip_keeps_every_parameter_to_half_precision(folder):
    torch.manual_seed(0)
    original = Generator(SMALL).state_dict()
    weights = load_weights(folder)
    assert (weights.source, weights.revision, weights.info["name"]) == ("folder", None, "tiny")
    assert not weights.generator.training
    for name, tensor in weights.generator.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, original[name].half().float()), name


def test_saving_replaces_weights_but_nothing_else(folder, tmp_path):
    save_weights(folder, Generator(SMALL), {"name": "second"}, "# second\n")
    assert load_weights(folder).info["name"] == "second"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(b"precious")
    with pytest.raises(WeightsError, match="holds no weights"):
        save_weights(tmp_path / "photos", Generator(SMALL), {}, "")
    assert (tmp_path / "photos" / "one.png").read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos", "tiny"]


def test_embedded_default_is_whole_and_opens_no_socket():
    assert DEFAULT_WEIGHTS in available_weights()
    script = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from damgan_cli.weights.find import *\n"
        "for name in available_weights():\n"
        "    weights = load_weights(name)\n"
        "    assert weights.source == 'embedded'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def corrupt(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def truncate(folder):
    data = (folder / "model.safetensors").read_bytes()[:100]
    (folder / "model.safetensors").write_bytes(data)
    edit(folder, sha256=hashlib.sha256(data).hexdigest())


def store(folder, change):
    """Other values under the digest that is right for them."""
    tensors = load_file(folder / "model.safetensors")
    data = save({name: change(tensor) for name, tensor in tensors.items()})
    (folder / "model.safetensors").write_bytes(data)
    edit(folder, sha256=hashlib.sha256(data).hexdigest())


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt, "corrupt"),
        (truncate, "do not fit"),
        (lambda f: (f / "model.safetensors").unlink(), "cannot read"),
        (lambda f: (f / "config.json").unlink(), "cannot read"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "not of damgan"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "not of damgan"),
        (lambda f: edit(f, format_version=99), "format version 99"),
        (lambda f: edit(f, generator={**SMALL.to_dict(), "dam_channels": [4, 4, 4, 8]}), "do not fit"),
        (lambda f: edit(f, generator={**SMALL.to_dict(), "dam_dilations": [2, 2]}), "do not fit"),
        (lambda f: edit(f, generator=None), "generator: None is not of type"),
    ],
)
def test_damaged_or_foreign_weights_are_one_clear_error(folder, damage, message):
    damage(folder)
    with pytest.raises(WeightsError, match=message):
        load_weights(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(bytes(3_000_000)), "has 3,000,000 bytes"),
        (
            lambda f: edit(f, generator={**SMALL.to_dict(), "coarse_channels": [60000] * 3}),
            "size mismatch for coarse_stage.stem.weight",
        ),
        (lambda f: edit(f, architecture="lama"), "architecture: "),
        (lambda f: edit(f, license=["mit"]), "license: "),
        (lambda f: edit(f, sha256="x"), "sha256: "),
        (
            lambda f: (f / "config.json").write_bytes(bytes(3_000_000)),
            "config.json has 3,000,000 bytes, such",
        ),
        (lambda f: edit(f, format_version=1.0), "format version 1.0"),
        (lambda f: edit(f, architecture_version=True), "architecture version True"),
        (lambda f: edit(f, generator={**SMALL.to_dict(), "dam_channels": [4.0] * 4}), "4.0 is not of type"),
        (lambda f: edit(f, photos=5.0), "photos: 5.0"),
        (lambda f: edit(f, hours=float("nan")), "not JSON"),
        (lambda f: store(f, lambda t: t.to(torch.bfloat16)), "are bfloat16, not float16"),
        (lambda f: store(f, lambda t: t.to(torch.int16)), "are int16, not float16"),
        (lambda f: store(f, lambda t: t * torch.nan), "NaN or infinite"),
        (lambda f: store(f, lambda t: t / 0), "NaN or infinite"),
    ],
)
def test_no_claim_costs_memory_and_no_field_is_of_another_type(folder, damage, message):
    damage(folder)
    with pytest.raises(WeightsError, match=message):
        load_weights(folder)


@pytest.mark.skipif(os.name != "posix", reason="needs devices and FIFOs")
def test_only_regular_files_are_read(folder, tmp_path):
    """A device has no end, a FIFO nobody writes to keeps its reader for ever."""
    odd = []
    for file in ("config.json", "model.safetensors", "README.md"):
        for kind in ("/dev/zero", "/dev/stdin", "fifo"):
            odd.append(shutil.copytree(folder, tmp_path / f"{len(odd)}"))
            (odd[-1] / file).unlink()
            os.mkfifo(odd[-1] / file) if kind == "fifo" else (odd[-1] / file).symlink_to(kind)
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
        "from damgan_cli.weights.find import *\n"
        "from damgan_cli.weights.folder import annotate_weights\n"
        f"for folder in map(Path, {[*map(str, odd)]}):\n"
        "    try: load_weights(folder); annotate_weights(folder)\n"
        "    except WeightsError as problem: print(problem)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        out = process.stdout.read()  # stdin stays an open pipe
        assert out.count("is no regular file") == len(odd), out
    finally:
        process.communicate()


def test_links_to_regular_files_are_followed(folder, tmp_path):
    """The Hub cache consists of them."""
    for file in ("config.json", "model.safetensors"):
        (folder / file).rename(tmp_path / file)
        (folder / file).symlink_to(tmp_path / file)
    assert load_weights(folder).info["name"] == "tiny"


def test_a_huge_file_is_not_read_whatever_explains_it(folder):
    edit(folder, generator={**SMALL.to_dict(), "coarse_channels": [60000] * 3})
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(200 << 30)  # sparse: takes no room
    with pytest.raises(
        WeightsError, match="has 214,748,364,800 bytes, its architecture at most 1,073,741,824"
    ):
        load_weights(folder)


def test_weights_that_cannot_be_loaded_are_not_written(tmp_path):
    generator = Generator(SMALL)
    with torch.no_grad():
        next(generator.parameters()).fill_(1e5)  # float16 ends at 65504
    with pytest.raises(WeightsError, match="not finite in float16"):
        save_weights(tmp_path / "tiny", generator, {}, "")
    assert not list(tmp_path.iterdir())


def test_a_run_folder_stands_for_its_weights(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"size": 128}')  # of the training
    folder.rename(run / "weights")
    assert load_weights(run).info["name"] == "tiny"


def test_files_of_the_first_version_load(tmp_path):
    """As written at commit 9ba7e8e: no architecture version, no licence."""
    torch.manual_seed(0)
    save_weights(tmp_path / "old", Generator(SMALL), FIRST_VERSION, "# old\n")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["architecture"], config["architecture_version"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    assert load_weights(tmp_path / "old").info == config


def test_what_int8_needed_before_is_left_behind(tmp_path):
    save_weights(tmp_path / "old", Generator(SMALL), {"int8": {"dam_stage.middle.0.conv1": 100}}, "# old\n")
    assert "int8" not in load_weights(tmp_path / "old").info


@pytest.mark.parametrize(
    "config", [GeneratorConfig(), SMALL, GeneratorConfig((3, 5, 7), (), (2, 9, 4, 6), (1, 2))]
)
def test_parameters_are_counted_without_memory_for_them(config):
    parameters = sum(p.numel() for p in Generator(config).parameters())
    assert parameter_count(config.to_dict()) == parameters


CHANGES = {
    "format": "other", "format_version": 2, "architecture_version": 1.5, "generator": {},
    "value_range": [0, 1],
    "sha256": "ABC", "name": 3, "license": "My Licence", "datasets": ["a b"], "preset": None,
    "training": {"size": 0}, "data": "faces", "photos": -1, "init": 1, "hours": "long", "seed": True,
    "validation": {"val_center_psnr": "good"},
}  # fmt: skip


def test_schema_refuses_each_kind_of_nonsense(folder):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = json.loads((folder / "config.json").read_text()) | FIRST_VERSION
    good |= {"license": "cc-by-nc-4.0", "datasets": ["lab/faces"]}
    assert mismatch(good) is None
    bad = [[], {}, None, *({**good, key: value} for key, value in CHANGES.items())]
    bad += [{k: v for k, v in good.items() if k != key} for key in SCHEMA["required"]]
    widths = ([4, 4], [4, 4, 4, 4], [4, 4, 0], [4, 4, 1.5], [4, 4, "4"], [4, 4, True], "4", [4, 4, 70000])
    bad += [{**good, "generator": {**good["generator"], "coarse_channels": value}} for value in widths]
    scales = ([], [1, 1], [3], [16], [1.0], 1)
    bad += [{**good, "generator": {**good["generator"], "coarse_scales": value}} for value in scales]
    bad += [{**good, "generator": {**good["generator"], "more": 1}}]
    assert [case for case in bad if mismatch(case) is None] == []


def test_every_entry_of_the_schema_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    assert [key for key in SCHEMA["properties"] if f"`{key}`" not in page] == []
    assert set(SCHEMA["required"]) <= set(SCHEMA["properties"])


def test_licence_and_datasets_are_recorded_in_config_and_card(folder):
    tensors = (folder / "model.safetensors").read_bytes()
    annotate_weights(folder, license="cc-by-4.0", datasets=["lab/faces"])
    info = load_weights(folder).info
    assert (info["license"], info["datasets"]) == ("cc-by-4.0", ["lab/faces"])
    data = ModelCard.load(folder / "README.md").data
    assert (data.license, data.datasets) == ("cc-by-4.0", ["lab/faces"])
    assert "# tiny" in (folder / "README.md").read_text()
    assert (folder / "model.safetensors").read_bytes() == tensors
    before = (folder / "config.json").read_bytes()
    with pytest.raises(WeightsError, match="cannot be recorded: license"):
        annotate_weights(folder, license="All rights reserved")
    assert (folder / "config.json").read_bytes() == before
    (folder / "README.md").write_text("---\n[\n---\n")
    with pytest.raises(WeightsError, match="no YAML"):
        annotate_weights(folder, license="mit")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_model_card_has_the_metadata_that_the_hub_reads():
    card = ModelCard(model_card({**FIRST_VERSION, "license": "mit", "datasets": ["lab/faces"]}))
    assert card.data.library_name == "damgan"
    assert card.data.pipeline_tag == "image-to-image"
    assert "inpainting" in card.data.tags
    assert (card.data.license, card.data.datasets) == ("mit", ["lab/faces"])
    figures = [(r.dataset_type, r.metric_type, r.metric_value) for r in card.data.eval_results]
    assert figures == [
        ("validation-center", "psnr", 24.5),
        ("validation-center", "ssim", 0.85),
        ("validation-irregular", "psnr", 26.25),
        ("validation-irregular", "ssim", 0.83),
    ]
    assert "| center | 24.50 | 0.8500 |" in card.text


def test_unknown_names_and_files_are_told(folder):
    with pytest.raises(WeightsError, match="no weights called 'nonsense'"):
        load_weights("nonsense")
    with pytest.raises(WeightsError, match="is a file"):
        load_weights(folder / "config.json")
