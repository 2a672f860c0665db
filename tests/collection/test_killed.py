"""A run that is killed at any moment, again and again, ends with the results of one that was left alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from tests.collection.samples import MASK, photo, read_tar, sample, write_tar

SHARDS, PHOTOS = 6, 20


def start(arguments, scratch):
    return subprocess.Popen(
        [sys.executable, "-m", "damgan_cli", "inpaint", *map(str, arguments), "--device", "cpu", "-q"],
        env=os.environ | {"TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
    )


def kill_on_the_way(arguments, bucket, scratch, chance):
    """Start the command, kill it after some more objects, and a moment; False if it was done before that."""
    process = start(arguments, scratch)
    enough = bucket.count("killed") + chance.randint(1, 4)
    while process.poll() is None and bucket.count("killed") < enough:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.05))
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("shape", ["shards", "photos"])
def test_kills_lose_nothing_and_change_nothing(inpaint, bucket, tiny_weights, tmp_path, shape):
    if shape == "shards":
        for number in range(SHARDS):
            members = {}
            for photo_number in range(number * PHOTOS, (number + 1) * PHOTOS):
                members |= sample(photo_number)
            bucket.put({f"in/{number}.tar": write_tar(tmp_path / "shard.tar", members).read_bytes()})
        given = (f"{bucket.url}/in/{{0..{SHARDS - 1}}}.tar",)
    else:
        names = [f"{number:04d}.png" for number in range(SHARDS * PHOTOS)]
        bucket.put({f"in/{name}": photo(number) for number, name in enumerate(names)})
        bucket.put({f"masks/{name}": MASK for name in names})
        given = (f"{bucket.url}/in", "--mask", f"{bucket.url}/masks")
    given = (*given, "--weights", tiny_weights)

    assert inpaint(*given, "-o", f"{bucket.url}/alone", "--device", "cpu").code == 0
    target, chance = (*given, "-o", f"{bucket.url}/killed"), random.Random(shape)
    killed = sum(kill_on_the_way(target, bucket, tmp_path / "scratch", chance) for _ in range(3))
    assert killed >= 2
    assert len(list((tmp_path / "scratch").iterdir())) <= 1  # each start removes what kills left behind
    assert inpaint(*target, "--device", "cpu").code == 0  # which also leaves nothing in the scratch folder
    assert bucket.under("killed") == bucket.under("alone")
    if shape == "shards":
        made = [read_tar(data) for name, data in bucket.under("killed").items() if name.endswith(".tar")]
        photos = [
            name for members in made for name in members if name.count(".") == 1 and name.endswith(".png")
        ]
        assert sorted(photos) == [f"{number:04d}.png" for number in range(SHARDS * PHOTOS)]
