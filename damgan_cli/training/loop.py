"""The training loop: one step of G and D, schedules, ticks, checkpoints, and the exported weights."""

from __future__ import annotations

import contextlib
import json
import math
import time
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from damgan_cli.errors import TrainingError
from damgan_cli.model import Generator, composite
from damgan_cli.model import losses as L
from damgan_cli.photos.files import write_png
from damgan_cli.runtime.device import choose_dtype
from damgan_cli.runtime.distributed import World
from damgan_cli.training.adversary import R1_EVERY, Adversary
from damgan_cli.training.card import model_card
from damgan_cli.training.checkpoint import damage_told, save_checkpoint
from damgan_cli.training.config import CHECKPOINT
from damgan_cli.training.interrupt import Interrupted
from damgan_cli.training.ticks import (
    STATS,
    append_stats,
    drop_later_stats,
    gained,
    read_stats,
    status_line,
)
from damgan_cli.training.widen import widened
from damgan_cli.weights.find import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from damgan_cli.perceptual import Lpips
    from damgan_cli.training.config import TrainingConfig
    from damgan_cli.training.data import Batches
    from damgan_cli.training.device_data import DeviceBatches
    from damgan_cli.training.validation import Validation

WEIGHTS = "weights"
_WARMUP_SHARE = 0.05
_TICK_SHARE = 0.1 - 1e-9  # of the budget; less, as shares are sums of floats


@dataclass(frozen=True)
class Budget:
    """When a training ends: after this many images, this many minutes, or whichever comes first."""

    images: int | None = None
    minutes: float | None = None

    def progress(self, images: int, seconds: float) -> float:
        """Share of the budget that is spent, 0 … 1."""
        by_images = images / self.images if self.images else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_images, by_time))


def learning_rate(config: TrainingConfig, images: int, progress: float) -> float:
    """Share of the full learning rate: linear warm-up, constant, then a half cosine.

    The warm-up takes at most a twentieth of the budget, else a short training never gets beyond it.
    """
    warmup = 1.0
    if config.warmup_images:
        by_images = (images + config.batch_size) / config.warmup_images
        warmup = min(1.0, max(by_images, progress / _WARMUP_SHARE))
    if progress <= config.decay_start:
        return warmup
    phase = (progress - config.decay_start) / (1 - config.decay_start)
    return warmup * (config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * phase)) / 2)


def jittered(*images: Tensor) -> list[Tensor]:
    """The same random crop, scale, mirroring and transposition of several (B, 3, S, S).

    A perceptual network that always looks through one grid of strides rewards patterns of dots that fit
    this grid; random transformations of its input do not (E-LPIPS, Kettunen et al. 2019).
    """
    size = images[0].shape[-1]
    side = size - int(torch.randint(size // 8, ()))
    top, left = (int(torch.randint(size - side + 1, ())) for _ in "yx")
    target = round(side * (0.75 + 0.5 * float(torch.rand(()))))
    mirror, transpose = torch.rand(2) < 0.5
    cut = [image[..., top : top + side, left : left + side] for image in images]
    cut = [F.interpolate(image, size=(target, target), mode="bilinear") for image in cut]
    cut = [image.flip(3) for image in cut] if mirror else cut
    return [image.transpose(2, 3) for image in cut] if transpose else cut


def nearness(mask: Tensor, deep: float) -> Tensor:
    """Weight of pixels (B, 1, H, W): 1 at known ones, in the hole falling to ``deep`` from 28 px on.

    What lies deep can be many things, and L1 would have their mean (spatial discounting, Yu et al. 2018).
    """
    known = F.max_pool2d(1 - mask, 4)  # coarse steps do, and cost a sixteenth
    reached = [known]
    for reach in (1, 2, 3):
        reached.append(F.max_pool2d(reached[-1], 2 * reach + 1, stride=1, padding=reach))
    near = torch.stack(reached).mean(0)
    return F.interpolate(deep + (1 - deep) * near, size=mask.shape[-2:], mode="nearest")


class Trainer:
    """Everything that changes while training, so that one checkpoint holds all of it."""

    def __init__(
        self,
        config: TrainingConfig,
        batches: Batches | DeviceBatches,
        device: torch.device,
        seed: int,
        budget: Budget,
        perceptual: Lpips | None = None,
        world: World | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.config, self.batches, self.device, self.seed, self.budget = config, batches, device, seed, budget
        self.world = world or World()
        dtype = choose_dtype("auto", device)
        # float16 gradients would need loss scaling; only GPUs without bfloat16 ask for it
        self.dtype = torch.float32 if dtype == torch.float16 else dtype
        self.G = Generator(config.generator).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adversary = Adversary(config, perceptual).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.D = self.adversary.D
        self.perceptual = perceptual and perceptual.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = deepcopy(self.G).requires_grad_(requires_grad=False)
        self.optimizer_G = self._adam(self.G, config.learning_rate)
        self.optimizer_D = self._adam(self.D, config.discriminator_learning_rate)
        self.step = 0
        self.seconds = 0.0
        """Time spent by this training so far, all runs of it together."""

    def _adam(self, module: nn.Module, rate: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            module.parameters(), rate, self.config.betas, weight_decay=self.config.weight_decay, fused=True
        )

    @property
    def images(self) -> int:
        """Images seen, by all processes together."""
        return self.step * self.config.batch_size * self.world.size

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 … 1."""
        return self.budget.progress(self.images, self.seconds)

    def start_from(self, generator: Generator) -> None:
        """Take over the parameters of shipped weights, see ``widened``. Raises TrainingError."""
        state = widened(generator, self.config.generator).state_dict()
        self.G.load_state_dict(state)
        self.ema.load_state_dict(state)

    def train_step(self) -> dict[str, float | Tensor]:
        """One step of the generator and, once it has joined, one of the discriminator; returns losses."""
        config = self.config
        rate = learning_rate(config, self.images, self.progress)
        for optimizer, full in (
            (self.optimizer_G, config.learning_rate),
            (self.optimizer_D, config.discriminator_learning_rate),
        ):
            for group in optimizer.param_groups:
                group["lr"] = full * rate
        adversarial = config.lambda_adv > 0 and self.progress >= config.adversarial_start

        # (B, 3, S, S) in [-1, 1] and (B, 1, S, S), 1 = hole
        truth, mask = self.batches.tensors(self.step * self.world.size + self.world.rank, self.device)
        weight = None
        if config.hole_weight:
            ratio = mask.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1 / mask[0].numel())
            weight = 1 + config.hole_weight * mask / ratio
            if config.deep_weight < 1:
                weight = weight * nearness(mask, config.deep_weight)

        with self._autocast():
            output = self.G(truth, mask)
            fake = composite(truth, mask, output.result)  # what D sees; Eq. 1 and 3 take G(x) as it is
        loss_re = L.reconstruction_loss(truth, output.coarse, output.result, weight)  # Eq. 1
        loss_dam = L.dam_loss(output.maps, truth, output.result)  # Eq. 3
        loss = config.lambda_re * loss_re + config.lambda_dam * loss_dam  # Eq. 4
        losses: dict[str, float | Tensor] = {"loss_re": loss_re.detach(), "loss_dam": loss_dam.detach()}
        if config.lambda_ssim:
            loss_ssim = L.ssim_loss(fake, truth)
            loss = loss + config.lambda_ssim * loss_ssim
            losses["loss_ssim"] = loss_ssim.detach()
        if self.perceptual is not None:
            with self._autocast():
                loss_perceptual = self.perceptual(*jittered(fake, truth)).mean()
            loss = loss + config.lambda_perceptual * loss_perceptual
            losses["loss_lpips"] = loss_perceptual.detach()
        if adversarial:
            with self._autocast():
                against = self.adversary.generator_losses(truth, fake, mask)  # Eq. 2, G
            loss = loss + config.lambda_adv * against["adv"]
            if "fm" in against:
                loss = loss + config.feature_matching * against["fm"]
            losses |= {f"loss_{name}": value.detach() for name, value in against.items()}
        self._descend(self.optimizer_G, self.G, loss, losses, "G")
        if adversarial:
            with self._autocast():
                loss_d = self.adversary.discriminator_loss(truth, fake, mask)  # Eq. 2, D
            losses["loss_d"] = loss_d.detach()
            if config.r1_gamma and self.step % R1_EVERY == 0:
                loss_d = loss_d + self.adversary.penalty(truth)
            self._descend(self.optimizer_D, self.D, loss_d, losses, "D")
        self.step += 1
        self._update_ema()
        return losses

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _descend(
        self,
        optimizer: torch.optim.Optimizer,
        module: nn.Module,
        loss: Tensor,
        losses: dict[str, float | Tensor],
        name: str,
    ) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.world.average([p.grad for p in module.parameters() if p.grad is not None])
        norm = nn.utils.clip_grad_norm_(module.parameters(), self.config.gradient_clip)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"The training diverged: gradient of {name} {norm.item()} after {self.images} images.",
                "Go on from the last checkpoint with a lower learning_rate or gradient_clip (--set).",
            )
        losses[f"gradient_{name}"] = norm.detach()
        optimizer.step()

    @torch.no_grad()
    def _update_ema(self) -> None:
        # The half-life grows with the images seen (Karras et al. 2022), lest the average remember the start.
        half_life = min(self.config.ema_half_life, 0.05 * self.images)
        batch = self.config.batch_size * self.world.size
        keep = 0.5 ** (batch / half_life) if half_life > 0 else 0.0
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.G.parameters()), 1 - keep)

    def state(self) -> dict[str, Any]:
        """Everything a checkpoint needs for the training to go on to the same bits."""
        return {
            "config": self.config.to_dict(),
            "seed": self.seed,
            "photos": len(self.batches.photos),
            "processes": self.world.size,
            "step": self.step,
            "seconds": self.seconds,
            "G": self.G.state_dict(),
            "D": self.D.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer_G": self.optimizer_G.state_dict(),
            "optimizer_D": self.optimizer_D.state_dict(),
            "random": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Go on from a checkpoint. Raises TrainingError if it is of another training, or damaged."""
        mine = {
            "seed": self.seed,
            "photos": len(self.batches.photos),
            "processes": self.world.size,
            "config": self.config.to_dict(),
        }
        # through JSON, so that tuples and lists compare alike
        with damage_told(path):
            differing = [key for key, value in mine.items() if json.dumps(state[key]) != json.dumps(value)]
        if differing:
            raise TrainingError(
                f"{path} is of a training with other {' and '.join(differing)}.",
                "Resume with the same command, or start anew in another --out (with --init for its weights).",
            )
        with damage_told(path):
            for name in ("G", "D", "ema", "optimizer_G", "optimizer_D"):
                getattr(self, name).load_state_dict(state[name])
            self.step, self.seconds = state["step"], state["seconds"]
            torch.set_rng_state(state["random"])


def run(
    trainer: Trainer,
    out: Path,
    validation: Validation,
    info: dict[str, Any],
    say: Callable[[str], None],
) -> bool:
    """Train until the budget is spent or the user interrupts; True when finished.

    Before the first step and per tick (``config.tick_images``, or a tenth of the budget): a line through
    ``say``, one JSON line in ``stats.jsonl``, TensorBoard events, a sample sheet in ``sheets/``, the
    checkpoint. At the end ``weights/``, which ``--weights`` takes. ``info`` (preset, data) goes into the
    weights' ``config.json``.
    """
    first = trainer.world.first
    scores: dict[str, float] = {}

    def tick(stats: dict[str, float]) -> None:
        scores.clear()
        scores.update(validation.score(trainer.ema, trainer.device, trainer.dtype))
        stats |= scores
        say(status_line(stats, trainer.progress))
        append_stats(out / STATS, stats)
        for name, value in stats.items() if board else ():
            board.add_scalar(name, value, trainer.images)
        sheet = validation.sheet(trainer.ema, trainer.device, trainer.dtype)
        write_png(out / "sheets" / f"{trainer.images:09d}.png", sheet)
        save_checkpoint(out / CHECKPOINT, trainer.state())

    if first:
        (out / "sheets").mkdir(parents=True, exist_ok=True)
        damaged = drop_later_stats(out / STATS, trainer.images)
        if damaged:
            say(f"{damaged} lines of {out / STATS} could not be read and are left out.")
    with (
        _tensorboard(out / "tensorboard", trainer.images, say, first=first) as board,
        Interrupted() as interrupted,
    ):
        if first and not trainer.step:
            tick({"images": 0, "seconds": 0.0})
        while trainer.progress < 1:
            # while the first validates, the others wait here: all leave, or all go on
            if trainer.world.largest([float(bool(interrupted))])[0]:
                break
            stats = _train_one_tick(trainer, interrupted)
            if first:
                tick(stats)
    if trainer.progress < 1:
        return False
    if not first:
        return True
    if not scores:  # resumed when all was done
        scores.update(validation.score(trainer.ema, trainer.device, trainer.dtype))
    ticks, _ = read_stats(out / STATS)
    change = gained(ticks[0], scores) if ticks and not ticks[0]["images"] else None
    if change:
        say(change)
    info = {
        **info,
        "training": trainer.config.to_dict(),
        "images_seen": trainer.images,
        "hours": round(trainer.seconds / 3600, 2),
        "validation": scores,
    }
    save_weights(out / WEIGHTS, trainer.ema, info, model_card(info))
    return True


def _tensorboard(folder: Path, images: int, say: Callable[[str], None], *, first: bool) -> Any:
    """An event writer as a context manager; it gives None without TensorBoard and in further processes."""
    if not first:
        return contextlib.nullcontext()
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("TensorBoard is not installed: no events are written (pip install 'damgan[train]').")
        return contextlib.nullcontext()
    return SummaryWriter(str(folder), purge_step=images)


def _train_one_tick(trainer: Trainer, interrupted: Interrupted) -> dict[str, float]:
    """Train one tick (less at the end or when interrupted); returns mean losses and speed."""
    first, begun = trainer.images, trainer.progress
    started, spent = time.perf_counter(), trainer.seconds
    sums: dict[str, tuple[float | Tensor, int]] = {}
    while True:
        for name, value in trainer.train_step().items():
            total, count = sums.get(name, (0.0, 0))
            sums[name] = (total + value, count + 1)
        # all processes must stop at the same step
        trainer.seconds, asked = trainer.world.largest(
            [spent + time.perf_counter() - started, float(bool(interrupted))]
        )
        if asked:
            interrupted.set()
        done = trainer.progress >= 1 or interrupted or trainer.images - first >= trainer.config.tick_images
        if done or trainer.progress - begun >= _TICK_SHARE:
            break
    seconds = time.perf_counter() - started
    means = torch.tensor([float(total) / count for total, count in sums.values()])
    trainer.world.average([means])
    return {
        "images": trainer.images,
        "seconds": trainer.seconds,
        "images_per_second": (trainer.images - first) / seconds,
        "learning_rate": trainer.optimizer_G.param_groups[0]["lr"],
        **dict(zip(sums, means.tolist(), strict=True)),
    }
