"""Narrow a generator's deepest residual blocks inside, and have each learn to do what it did.

    python examples/slim.py WEIGHTS PHOTOS OUT [CHANNELS]

Much as `photos` lost these channels (docs/experiments.md, sections 22 and 23). WEIGHTS is the name or folder
of the weights to start from, PHOTOS a folder of sharp photos of 256 px and more, OUT the weights folder to
write. CHANNELS are to be left inside a block, half of them if that is not given. In each block at the DAM
stage's deepest level those channels stay that give most (channel pruning, He et al. 2017), and the block
learns for itself what the old one gives of what that gets.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from damgan_cli.model import Generator
from damgan_cli.runtime.device import choose_device, choose_dtype
from damgan_cli.training.config import PRESETS
from damgan_cli.training.data import Batches, find_photos, load_photos
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights

SEED, BATCH, EXAMPLES = 211, 4, 24
STEPS, RATE = 250, 1e-3


def deepest_blocks(generator):
    """By name, the residual blocks at 1/8 of the size."""
    blocks = {f"middle.{number}": block for number, block in enumerate(generator.dam_stage.middle)}
    return {**blocks, "decode3.block": generator.dam_stage.decode3.block}


class Watch:
    """What goes into the blocks of a generator and comes out of them, when it fills ``batches`` of photos."""

    def __init__(self, generator, batches):
        self.batches, self.shown = batches, 0
        self.device = choose_device("auto")
        self.dtype = choose_dtype("auto", self.device, training=True)
        self.generator = generator.to(self.device).eval().requires_grad_(requires_grad=False)
        self.hidden, self.both = {}, {}
        for name, block in deepest_blocks(generator).items():
            block.conv2.register_forward_pre_hook(self._keep(self.hidden, name))
            block.register_forward_hook(self._keep(self.both, name))

    def _keep(self, where, name):
        def hook(_, *features):
            where[name] = [x[0].clone() if isinstance(x, tuple) else x for x in features]

        return hook

    def autocast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @torch.no_grad()
    def next(self):
        """Half of a batch is refined from half the size."""
        truth, mask = self.batches.tensors(self.shown, self.device)
        self.shown += 1
        with self.autocast():
            self.generator(truth, mask, len(truth) // 2)


def narrowed(watch, left):
    """A generator with the old one's parameters, of each deepest block's inner channels the best."""
    old = watch.generator
    *shallow, _ = old.config.inner_channels
    gives = dict.fromkeys(deepest_blocks(old), 0)  # by block: the mean square of each inner channel
    for _ in range(EXAMPLES // BATCH):
        watch.next()
        for name, (x,) in watch.hidden.items():
            gives[name] = gives[name] + x.float().square().mean((0, 2, 3))
    state = old.state_dict()
    for name, block in deepest_blocks(old).items():
        read = block.conv2.weight.square().sum((0, 2, 3))
        best = (gives[name] * read).argsort(descending=True)[:left]
        state[f"dam_stage.{name}.conv1.weight"] = block.conv1.weight[best]
        state[f"dam_stage.{name}.conv1.bias"] = block.conv1.bias[best]
        state[f"dam_stage.{name}.conv2.weight"] = block.conv2.weight[:, best]
    slim = Generator(replace(old.config, dam_inner_channels=(*shallow, left)))
    slim.load_state_dict(state)
    return slim.to(watch.device)


def teach(slim, watch):
    """Each of its deepest blocks what the old one gives, of what that gets."""
    blocks = deepest_blocks(slim)
    optimizer = torch.optim.Adam([part for block in blocks.values() for part in block.parameters()], RATE)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * (1 - 0.9 * step / STEPS)
        watch.next()
        errors = {}
        for name, block in blocks.items():
            x, y = watch.both[name]
            with watch.autocast():
                found = block.conv2(block.conv1(x))
            errors[name] = unexplained(found, y - x)
        optimizer.zero_grad()
        sum(errors.values()).backward()
        optimizer.step()
        if (step + 1) % 25 == 0:
            print(
                step + 1,
                {name: round(float(error.detach()), 3) for name, error in errors.items()},
                flush=True,
            )


def unexplained(found, wanted):
    """The share of the variance of features (B, C, h, w) that is not in others."""
    found, wanted = found.float(), wanted.float()
    return (found - wanted).square().mean() / (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()


def main(weights, photos, out, channels=None):
    """From weights to weights."""
    torch.manual_seed(SEED)
    old = load_weights(weights)
    config = replace(PRESETS["gpu"], generator=old.generator.config, batch_size=BATCH)
    batches = Batches(load_photos(find_photos([Path(photos)]), config.size, 5, print), config, SEED)
    watch = Watch(old.generator, batches)
    slim = narrowed(watch, int(channels or old.generator.config.inner_channels[-1] // 2))
    teach(slim, watch)
    training = old.info.get("training", {})
    training = {**training, "generator": slim.config.to_dict()}
    name, before = Path(out).name, old.info.get("name", old.name)
    info = {**old.info, "name": name, "init": before, "training": training}
    info.pop("validation", None)  # of the old ones
    save_weights(Path(out), slim.cpu(), info, f"# {name}\n\n{before}, narrowed by examples/slim.py.\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
