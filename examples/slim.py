"""Narrow a generator's residual blocks inside, and have it learn to do what it did.

    python examples/slim.py WEIGHTS PHOTOS LPIPS OUT [IMAGES]

How `photos` lost half of these channels (docs/experiments.md, section 22). WEIGHTS is the name or folder of
the weights to start from, the teacher; PHOTOS a folder of sharp photos of 256 px and more; LPIPS the folder
with lpips-alex.safetensors; OUT the weights folder to write; IMAGES how many to see at the end. In each block
of the DAM stage those channels stay that give most (channel pruning, He et al. 2017); each block learns for
itself what the teacher's block gives; and then all of the stage what the teacher's stage gives: its features,
maps and fills, seen by LPIPS (distillation, Hinton et al. 2015). The coarse stage stays as it is. It needs
the extra "train".
"""

import sys
from collections import defaultdict
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from damgan_cli.evaluation.features import load_lpips
from damgan_cli.model import Generator
from damgan_cli.model.generator import LARGEST_BLUR, LEAK, ResidualBlock, composite
from damgan_cli.model.int8 import prepared
from damgan_cli.runtime.device import choose_device, choose_dtype
from damgan_cli.training.config import PRESETS
from damgan_cli.training.data import Batches, find_photos, load_photos
from damgan_cli.training.objective import jittered
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights

SEED, BATCH, EXAMPLES = 211, 6, 24
INNER = 16  # channels of which half is rounded up to a multiple
BLOCK_STEPS, BLOCK_RATE, RATE, AVERAGED = 150, 1e-3, 3e-4, 1000.0
RESULTS = ("encode0", "encode1", "encode2", "decode3", "decode2", "decode1")  # features between levels


class Slimming:
    """A teacher, its narrower student, and what both are shown."""

    def __init__(self, teacher, photos, lpips, light_share):
        self.device = choose_device("auto")
        self.dtype = choose_dtype("auto", self.device)
        self.teacher = teacher.to(self.device).eval().requires_grad_(requires_grad=False)
        inner = tuple(-(-width // 2 // INNER) * INNER for width in teacher.config.dam_channels)
        self.student = Generator(replace(teacher.config, dam_inner_channels=inner)).to(self.device)
        self.stages = self.teacher.dam_stage, self.student.dam_stage
        names = [name for name, part in self.stages[0].named_modules() if isinstance(part, ResidualBlock)]
        self.blocks = {name: [stage.get_submodule(name) for stage in self.stages] for name in names}
        self.config = replace(PRESETS["gpu"], generator=teacher.config, batch_size=BATCH)
        self.batches = Batches(photos, self.config, SEED)
        self.lpips, self.light_share, self.shown = lpips, light_share, 0

    def autocast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @torch.no_grad()
    def batch(self):
        """Photos, masks and what the DAM stage gets: half of them refined, the others light or not."""
        truth, mask = self.batches.tensors(self.shown, self.device)
        self.shown += 1
        refined = len(truth) // 2
        light = len(truth) - refined if torch.rand(()) < self.light_share else 0
        known = truth * (1 - mask)
        with self.autocast():
            sigma = LARGEST_BLUR * (0.1 + 0.9 * torch.rand(()))
            below = self.teacher.from_below(known[:refined], mask[:refined], sigma)
            coarse = self.teacher.coarse_result(known[refined:], mask[refined:], light)
        return truth, mask, composite(known, mask, torch.cat([below, coarse.to(below.dtype)])), light

    def narrow(self):
        """Give the student the teacher's parameters, of each block's inner channels those that give most."""
        given = defaultdict(float)  # by block: the mean square of each inner channel

        def watch(name):
            def hook(_, x):
                given[name] = given[name] + x[0].float().square().mean((0, 2, 3))

            return hook

        hooks = [
            teacher.conv2.register_forward_pre_hook(watch(name)) for name, (teacher, _) in self.blocks.items()
        ]
        for _ in range(EXAMPLES // BATCH):
            _, mask, whole, _ = self.batch()
            with torch.no_grad(), self.autocast():
                self.stages[0](whole, mask)
        for hook in hooks:
            hook.remove()
        state = self.teacher.state_dict()
        for name, (teacher, student) in self.blocks.items():
            gives = given[name] * teacher.conv2.weight.square().sum((0, 2, 3))
            best = gives.argsort(descending=True)[: student.conv1.out_channels]
            for part, chosen in (
                ("conv1.weight", teacher.conv1.weight[best]),
                ("conv1.bias", teacher.conv1.bias[best]),
                ("conv2.weight", teacher.conv2.weight[:, best]),
            ):
                state[f"dam_stage.{name}.{part}"] = chosen
        self.student.load_state_dict(state)

    def teach_blocks(self):
        """Each block what the teacher's block gives, of what the teacher's gets."""
        seen = {}
        hooks = [
            teacher.register_forward_hook(lambda _, x, y, name=name: seen.update({name: (x[0], y - x[0])}))
            for name, (teacher, _) in self.blocks.items()
        ]
        parameters = [part for _, block in self.blocks.values() for part in block.parameters()]
        optimizer = torch.optim.Adam(parameters, BLOCK_RATE)
        for step in range(BLOCK_STEPS):
            optimizer.param_groups[0]["lr"] = BLOCK_RATE * (1 - 0.9 * step / BLOCK_STEPS)
            _, mask, whole, _ = self.batch()
            with torch.no_grad(), self.autocast():
                self.stages[0](whole, mask)
            errors = {}
            for name, (_, block) in self.blocks.items():
                x, wanted = seen[name]
                with self.autocast():
                    found = block.conv2(F.leaky_relu(block.conv1(x), LEAK))
                errors[name] = unexplained(found, wanted)
            optimizer.zero_grad()
            sum(errors.values()).backward()
            optimizer.step()
            if (step + 1) % 25 == 0:
                print(step + 1, {name: round(float(error), 3) for name, error in errors.items()}, flush=True)
        for hook in hooks:
            hook.remove()

    def teach(self, count):
        """All of the DAM stage, by ``count`` images; returns the student, averaged over the last."""
        features = ({}, {})

        def watch(name, kept):
            def hook(_, __, y):
                kept[name] = y[1] if name in RESULTS else y

            return hook

        for stage, kept in zip(self.stages, features, strict=True):
            for name in (*RESULTS, *self.blocks):
                stage.get_submodule(name).register_forward_hook(watch(name, kept))
        average, stage = deepcopy(self.student), self.stages[1]
        optimizer = torch.optim.Adam(stage.parameters(), RATE, betas=(0.9, 0.99))
        told = defaultdict(float)
        for images in range(BATCH, count + 1, BATCH):
            done = images / count
            optimizer.param_groups[0]["lr"] = RATE * min(1, images / 300) * max(0.03, 1 - done)
            truth, mask, whole, light = self.batch()
            for kept in features:
                kept.clear()
            with self.autocast():
                with torch.no_grad():
                    wanted, wanted_maps = self.stages[0](whole, mask, light)
                found, maps = stage(whole, mask, light)
            fills = [composite(truth, mask, fill.float()) for fill in (found, wanted)]
            share = mask.mean((1, 2, 3), keepdim=True).clamp_min(0.01)
            with self.autocast():
                seen = self.lpips(*jittered(*fills)).mean()
            both = [(features[1][name], features[0][name]) for name in features[1]]
            losses = {
                "fill": 2 * ((found.float() - wanted.float()).abs() * (1 + mask / share)).mean(),
                "lpips": 2 * seen.float(),
                "features": sum(unexplained(*each) for each in both if len(each[0]) == len(each[1])) / 16,
                "maps": sum((a - b).abs().mean() for a, b in zip(maps, wanted_maps, strict=True)) / 2,
            }
            optimizer.zero_grad(set_to_none=True)
            sum(losses.values()).backward()
            torch.nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
            optimizer.step()
            keep = 0.5 ** (BATCH / min(AVERAGED, max(30, 0.1 * images)))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(self.student.parameters()), 1 - keep)
            for name, loss in losses.items():
                told[name] += float(loss.detach()) / 40
            if images % (40 * BATCH) == 0:
                print(
                    images, f"{done:.0%}", {name: round(loss, 4) for name, loss in told.items()}, flush=True
                )
                told.clear()
        return average


def unexplained(found, wanted):
    """The share of the variance of features (B, C, h, w) that is not in others."""
    found, wanted = found.float(), wanted.float()
    return (found - wanted).square().mean() / (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()


def main(weights, photos, lpips, out, images="9000"):
    """From weights to weights."""
    torch.manual_seed(SEED)
    loaded = load_weights(weights)
    paths = load_photos(find_photos([Path(photos)]), 256, 5, print)
    light_share = loaded.info["training"].get("light_share", 0)
    slimming = Slimming(loaded.generator, paths, load_lpips("lpips_alex", Path(lpips)), light_share)
    slimming.narrow()
    slimming.teach_blocks()
    average = slimming.teach(int(images)).cpu()
    examples = (slimming.batches.tensors(slimming.shown + n, torch.device("cpu")) for n in range(EXAMPLES))
    slim, levels = prepared(average, examples, light=light_share > 0)
    name, teacher = Path(out).name, loaded.info["name"]
    training = {**loaded.info["training"], "generator": slim.config.to_dict()}
    info = {**loaded.info, "name": name, "init": teacher, "training": training, "int8": levels}
    save_weights(Path(out), slim, info, f"# {name}\n\n{teacher}, narrowed by examples/slim.py.\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
