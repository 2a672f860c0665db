"""Weights to the Hub: what is sent, and all that can fail."""

from __future__ import annotations

import pytest

from damgan_cli.errors import WeightsError
from damgan_cli.inpainting.inpainter import Inpainter
from damgan_cli.model import Generator
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights
from damgan_cli.weights.hub import push
from tests.weights.hub_server import FILES, READ, WRITE, Fault
from tests.weights.small import SMALL


def test_push_and_pull_give_the_same_bytes(hub, files, published, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WRITE)
    commit, url = push(published, "lab/mine", create=True, private=True)
    assert url == f"{hub.endpoint}/lab/mine/commit/{commit}"
    assert hub.repos["lab/mine"].private
    pulled = load_weights("lab/mine")
    assert pulled.revision == commit
    assert {name: (pulled.folder / name).read_bytes() for name in FILES} == files
    assert push(published, "lab/mine")[0] == commit  # nothing changed: no commit
    assert hub.tokens_at_cdn == []


@pytest.mark.parametrize(
    ("token", "repo", "fault", "message"),
    [
        (None, "lab/mine", None, "cannot be written to without a token"),
        ("hf_wrong", "lab/mine", None, "does not know your token"),
        (READ, "lab/mine", None, "does not allow your token"),
        (WRITE, "lab/nothing", None, "no Hub repository lab/nothing"),
        (WRITE, "lab/mine", Fault("POST .*preupload", 500), r"problem of its own \(500\)"),
        (WRITE, "lab/mine", Fault("PUT", 403), "does not allow your token"),
        (WRITE, "lab/mine", Fault("POST .*commit", 429), r"fewer requests \(429\)"),
        ("hf_with\nnewline and a secret", "lab/mine", None, "does not know your token"),
    ],
)
def test_failing_pushes_are_told_without_the_token(
    hub, files, published, monkeypatch, token, repo, fault, message
):
    hub.add("lab/mine", {".gitattributes": b""})
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.faults.extend([fault] if fault else [])
    with pytest.raises(WeightsError, match=message) as caught:
        push(published, repo)
    assert "secret" not in str(caught.value)
    assert not token or token not in str(caught.value)
    assert len(hub.repos["lab/mine"].commits) == 1


def test_model_card_that_the_hub_refuses_is_told(hub, published, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WRITE)
    card = "---\nlicense: [mit]\n---\n"
    save_weights(tmp_path / "odd", Generator(SMALL), {}, card)
    hub.add("lab/mine", {".gitattributes": b""})
    with pytest.raises(WeightsError, match=r"refuses the model card.*license.*README.md"):
        push(tmp_path / "odd", "lab/mine")


def test_python_users_load_and_publish_as_with_other_hub_libraries(hub, files, published, tmp_path):
    commit = hub.add("lab/faces", files, "v1", private=True)
    with pytest.raises(WeightsError, match="or it is private"):
        Inpainter.from_pretrained("lab/faces", device="cpu")
    inpainter = Inpainter.from_pretrained(
        "lab/faces", revision="v1", token=READ, cache_dir=tmp_path / "cache", device="cpu", dtype="float32"
    )
    assert inpainter.weights.revision == commit
    again = Inpainter.from_pretrained(
        "lab/faces", revision="v1", cache_dir=tmp_path / "cache", local_files_only=True, device="cpu"
    )
    assert again.weights.info == inpainter.weights.info
    url = inpainter.push_to_hub("lab/copy", token=WRITE, private=True)
    repo = hub.repos["lab/copy"]
    assert repo.private
    assert url.endswith(f"/lab/copy/commit/{repo.refs['main']}")
    assert {name: repo.commits[repo.refs["main"]][name] for name in FILES} == files
