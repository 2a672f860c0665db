"""The benchmark gives figures; how good they are is for an idle machine to say."""

from __future__ import annotations

import json

from damgan_cli.bench import bench
from tests.inpainting.tiny import save_tiny_weights


def test_rates_of_generator_and_folder(tmp_path, capsys):
    weights = str(save_tiny_weights(tmp_path / "tiny"))
    bench(weights, device="cpu", dtype="float32", size=[64, 200], batch_size=2, seconds=0.05, as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert [row["size"] for row in report["rows"]] == [64, 200]
    for row in report["rows"]:
        assert row["bare"] > 0
        assert row["ratio"] == row["folder"] / row["bare"]
    bench(weights, device="cpu", dtype="float32", size=[64], batch_size=2, seconds=0.05)
    assert "bare/s" in capsys.readouterr().out
