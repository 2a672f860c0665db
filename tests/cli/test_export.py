"""``damgan export``: the ONNX graph in onnxruntime against PyTorch."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import skimage.data
import torch

from damgan_cli.errors import WeightsError
from damgan_cli.masks.generate import make_mask, mask_rng
from damgan_cli.weights import onnx_export as export
from damgan_cli.weights.find import load_weights
from tests.inpainting.tiny import save_tiny_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_weights(tmp_path_factory.mktemp("export") / "tiny")


@pytest.fixture(scope="module")
def report(folder):
    """What the command says; one export serves all tests."""
    command = [sys.executable, "-m", "damgan_cli", "export", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def graph(report, folder):
    return folder.parent / report["file"]


def test_command_writes_one_checked_file(damgan, folder, report, graph, monkeypatch):
    assert report["file"] == "tiny.onnx"
    assert report["largest_difference"] <= export.TOLERANCE == 1
    assert report["bytes"] == graph.stat().st_size
    assert sorted(path.name for path in folder.parent.iterdir()) == ["tiny", "tiny.onnx"]
    monkeypatch.chdir(folder.parent)
    again = damgan("export", folder)
    assert again.code == 2
    assert "exists already" in again.err


def test_graph_says_what_it_is(graph, folder):
    session = onnxruntime.InferenceSession(str(graph))
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    assert inputs == {
        "image": ("tensor(uint8)", ["batch", "height", "width", 3]),
        "mask": ("tensor(uint8)", ["batch", "height", "width"]),
    }
    (output,) = session.get_outputs()
    assert (output.name, output.type) == ("filled", "tensor(uint8)")
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["sha256"] == load_weights(folder).info["sha256"]


@pytest.mark.parametrize(
    ("batch", "height", "width"),
    [(1, 128, 128), (3, 64, 96), (1, 101, 67), (2, 8, 8), (1, 1, 1), (1, 7, 200), (4, 130, 33)],
)
def test_photos_come_out_as_from_pytorch(graph, folder, batch, height, width):
    session = onnxruntime.InferenceSession(str(graph))
    photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    image = np.stack([photos[i % 3][50 : 50 + height, 60 : 60 + width] for i in range(batch)])
    kinds = ("center", "irregular", "freeform")
    mask = np.stack([make_mask(kinds[i % 3], height, width, mask_rng(0, i)) for i in range(batch)])
    (filled,) = session.run(None, {"image": image, "mask": mask})
    wanted = export.reference(load_weights(folder).generator, image, mask)
    assert filled.shape == (batch, height, width, 3)
    assert np.abs(filled.astype(int) - wanted).max() <= 1
    assert np.array_equal(filled[mask <= 127], image[mask <= 127])
    if height * width > 1:
        assert not np.array_equal(filled, image)


def test_hidden_pixels_do_not_matter(graph):
    session = onnxruntime.InferenceSession(str(graph))
    image = skimage.data.astronaut()[None, :40, :40]
    mask = make_mask("center", 40, 40, mask_rng(0, 0))[None]
    other = np.where(mask[..., None] > 127, 255 - image, image)
    fills = [session.run(None, {"image": x, "mask": mask})[0] for x in (image, other)]
    assert np.array_equal(*fills)


def test_a_graph_that_differs_is_not_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_check", lambda *_: 7)
    monkeypatch.setattr(export, "_convert", lambda _: SimpleNamespace(model_proto=onnx.ModelProto()))
    with pytest.raises(WeightsError, match="differs from PyTorch by 7 levels"):
        export.export_onnx(load_weights(folder), tmp_path / "bad.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        ("2.6.0+cu124", "Install torch 2.8 or newer"),  # which raised this
        ("2.14.1", "Please report it: Expected derived min value"),
    ],
)
def test_an_exporter_that_fails_is_told(folder, tmp_path, monkeypatch, version, hint):
    def fails(*_, **__):
        raise torch.onnx.OnnxExporterError("Expected derived min value of 8*_width - 3 to be >= 0.\nAnd more")

    monkeypatch.setattr(torch.onnx, "export", fails)
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(WeightsError, match="cannot export") as told:
        export.export_onnx(load_weights(folder), tmp_path / "x.onnx")
    assert told.value.hint.startswith(hint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "no weights called 'nowhere'"),
        (("WEIGHTS", "--format", "tflite"), "no export to 'tflite'"),
        (("WEIGHTS", "-o", "."), "is a folder"),
    ],
)
def test_mistakes_are_told(damgan, folder, arguments, message):
    result = damgan("export", *(folder if word == "WEIGHTS" else word for word in arguments))
    assert result.code == 2
    assert message in result.err


def test_missing_extra_is_told(damgan, folder, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "onnxscript" else find(name, *a)
    )
    result = damgan("export", folder, "-o", tmp_path / "x.onnx")
    assert result.code == 2
    assert "needs onnxscript" in result.err
    assert "damgan[onnx]" in result.err
