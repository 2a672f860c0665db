"""What one training step does to G and D, and everything that a checkpoint holds. run.py repeats it."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from damgan_cli.errors import TrainingError
from damgan_cli.model import Generator, composite
from damgan_cli.model.generator import LARGEST_BLUR
from damgan_cli.model.losses import dam_loss, reconstruction_loss
from damgan_cli.runtime.device import choose_dtype
from damgan_cli.runtime.distributed import World
from damgan_cli.training.adversary import R1_EVERY, Adversary
from damgan_cli.training.checkpoint import damage_told
from damgan_cli.training.config import TrainingConfig
from damgan_cli.training.objective import (
    Term,
    jittered,
    pixel_weight,
    ssim_loss,
    weighted_reconstruction_loss,
)
from damgan_cli.training.schedule import learning_rate
from damgan_cli.training.widen import widened

if TYPE_CHECKING:
    from pathlib import Path

    from damgan_cli.model import GeneratorOutput
    from damgan_cli.perceptual import Lpips
    from damgan_cli.training.data import Batches
    from damgan_cli.training.device_data import DeviceBatches
    from damgan_cli.training.schedule import Budget


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


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
        *,
        compiled: bool = False,
    ) -> None:
        """``compiled``: the generator and its own losses go through torch.compile."""
        torch.manual_seed(seed)
        self.config, self.batches, self.device, self.seed, self.budget = config, batches, device, seed, budget
        self.world = world or World()
        dtype = choose_dtype("auto", device, training=True)
        # float16 gradients would need loss scaling; only GPUs without bfloat16 ask for it
        self.dtype = torch.float32 if dtype == torch.float16 else dtype
        self.G = Generator(config.generator).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.adversary = Adversary(config, perceptual).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.D = self.adversary.D
        self.G_parallel = self.world.parallel(self.G)
        self.adversary_parallel = self.world.parallel(self.adversary)
        # The adversary's random views have many shapes, each of which would be compiled anew.
        self._fill = torch.compile(self._filled_and_losses) if compiled else self._filled_and_losses
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

    def train_step(self) -> dict[str, Tensor]:
        """One step of the generator and, once it has joined, one of the discriminator.

        Returns every term of the losses by name, unweighted, and both gradients' norms before clipping.
        """
        config = self.config
        rate = learning_rate(config, self.images, self.progress)
        _set_rate(self.optimizer_G, config.learning_rate * rate)
        _set_rate(self.optimizer_D, config.discriminator_learning_rate * rate)
        adversarial = config.lambda_adv > 0 and self.progress >= config.adversarial_start

        # (B, 3, S, S) in [-1, 1] and (B, 1, S, S), 1 = hole
        truth, mask = self.batches.tensors(self.step * self.world.size + self.world.rank, self.device)

        # --- Generator
        fake, losses = self._fill(truth, mask)
        weights = {"re": config.lambda_re, "dam": config.lambda_dam, "ssim": config.lambda_ssim}
        terms = {name: Term(weights[name], loss) for name, loss in losses.items()}
        if self.perceptual is not None:
            with self._autocast():
                distance = self.perceptual(*jittered(fake, truth)).mean()
            terms["lpips"] = Term(config.lambda_perceptual, distance)
        if adversarial:
            with self._autocast():
                judged, views = self.adversary.generator_terms(truth, fake, mask)  # Eq. 2
            terms |= judged
        told = self._descend("G", self.G, self.optimizer_G, terms)

        # --- Discriminator
        if adversarial:
            penalise = config.r1_gamma > 0 and self.step % R1_EVERY == 0
            with self._autocast():
                terms = self.adversary_parallel(truth, fake, mask, views=views, penalise=penalise)  # Eq. 2
            told |= self._descend("D", self.D, self.optimizer_D, terms)

        # --- Moving average of the generator
        self.step += 1
        # The half-life grows with the images seen (Karras et al. 2022), lest the average remember the start.
        half_life = min(config.ema_half_life, 0.05 * self.images)
        keep = 0.5 ** (config.batch_size * self.world.size / half_life) if half_life > 0 else 0.0
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.G.parameters()), 1 - keep)
        return told

    def _filled_and_losses(self, truth: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The filled picture, which D sees, and those losses that need nobody else, unweighted."""
        refined, light = self.config.refined_images, self.config.light_images
        sigma: float | Tensor = LARGEST_BLUR
        if refined:  # by any blur, so that how sharp the fill of half the size is does not matter
            sigma = LARGEST_BLUR * (0.1 + 0.9 * torch.rand((), device=truth.device))
        with self._autocast():
            output = self.G_parallel(truth, mask, refined, sigma, light=light)
            fake = composite(truth, mask, output.result)  # Eq. 1 and 3 take G(x) as it is
        losses = {
            "re": self._reconstruction(truth, mask, output),  # Eq. 1
            "dam": dam_loss(output.fakeness, truth, output.result),  # Eq. 3
        }
        if self.config.lambda_ssim:
            losses["ssim"] = ssim_loss(fake, truth)
        return fake, losses

    def _reconstruction(self, truth: Tensor, mask: Tensor, output: GeneratorOutput) -> Tensor:
        config = self.config
        if not config.hole_weight:
            return reconstruction_loss(truth, output.coarse, output.result)  # Eq. 1
        weight = pixel_weight(mask, config.hole_weight, config.deep_weight)
        return weighted_reconstruction_loss(truth, output.coarse, output.result, weight)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _descend(
        self, name: str, module: nn.Module, optimizer: torch.optim.Optimizer, terms: dict[str, Term]
    ) -> dict[str, Tensor]:
        """One step down the weighted sum of ``terms`` (Eq. 4 where they are the paper's)."""
        loss = sum(term.weight * term.value for term in terms.values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[union-attr]
        norm = nn.utils.clip_grad_norm_(module.parameters(), self.config.gradient_clip)
        optimizer.step()
        values = {f"loss_{term}": value.detach() for term, (_, value) in terms.items()}
        return {**values, f"gradient_{name}": norm.detach()}

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
        """Go on from a checkpoint. Raises TrainingError if it is of another training, or damaged.

        Of another number of processes it may be. A step is then another number of images, and those that
        would make up a whole one are passed over.
        """
        mine = {
            "seed": self.seed,
            "photos": len(self.batches.photos),
            "config": self.config.to_dict(),
        }
        # through JSON, so that tuples and lists compare alike
        with damage_told(path):
            # what an earlier version did not know has its default
            config, default = state["config"], TrainingConfig().to_dict()
            widths = {**default["generator"], **config["generator"]}
            began = {**state, "config": {**default, **config, "generator": widths}}
            differing = [key for key, value in mine.items() if json.dumps(began[key]) != json.dumps(value)]
        if differing:
            raise TrainingError(
                f"{path} is of a training with other {' and '.join(differing)}.",
                "Resume with the same command, or start anew in another --out (with --init for its weights).",
            )
        with damage_told(path):
            for name in ("G", "D", "ema", "optimizer_G", "optimizer_D"):
                getattr(self, name).load_state_dict(state[name])
            batches, self.seconds = state["step"] * state["processes"], state["seconds"]
            self.step = -(-batches // self.world.size)
            torch.set_rng_state(state["random"])
