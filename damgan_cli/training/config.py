"""Every hyper-parameter of a training with its unit, and the presets as data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from damgan_cli.errors import TrainingError
from damgan_cli.model import GeneratorConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from damgan_cli.weights.folder import Weights

CHECKPOINT = "checkpoint.pt"
"""In a run folder."""
WEIGHTS = "weights"
"""The weights folder in a run folder."""
LEARNED_WAYS = ("refined_share", "light_share")
"""Settings by which weights learn ways of filling that they would unlearn without."""
WHOLE_PHOTO = 5
"""Photos that are cut at any side (``crop_scale`` photo) are first reduced to this many times ``size``."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training; a preset is a set of values for these, ``--set name=value`` changes single ones."""

    # data
    size: int = 128
    """Side of the square training images, pixels."""
    crop_scale: float | str = 1.0
    """Photos larger than ``size`` are cut at a random side between 1 and this many times ``size``. ``photo``:
    at a side between ``size`` and the whole photo (of at most `WHOLE_PHOTO` times ``size``), drawn
    log-uniformly, so that native pixels come as often as whole scenes."""
    zoom_share: float = 0.0
    """Share of images that show only a part of the photo, half to whole ``size`` a side, enlarged: so the
    model meets things at other places and scales than one framing has them."""
    flip: bool = True
    """Mirror half of the images left to right."""
    masks: dict[str, float] = field(default_factory=lambda: {"center": 0.5, "freeform": 0.5})
    """Mask kinds (``damgan mask``) and the share of images each gets."""
    irregular_ratio: tuple[float, float] = (0.01, 0.6)
    """Hole share of ``irregular`` masks, drawn uniformly from this range."""

    refined_share: float = 0.0
    """Share of each batch whose DAM stage gets the fill of half the size instead of the coarse stage's result
    (`Generator.forward`, ``refined``). With weights that learned it `damgan inpaint` fills deep holes so."""
    light_share: float = 0.0
    """Share of the images that are not refined, by which the generator learns to fill with fewer operations
    (`Generator.forward`, ``light``). With weights that learned it `damgan inpaint` fills shallow holes so."""

    # losses (Eq. 4)
    lambda_re: float = 1.0
    lambda_adv: float = 0.001
    lambda_dam: float = 0.005
    hole_weight: float = 0.0
    """L_re also gets this many times the mean error over each image's own hole: known pixels are pasted
    over in the end, and this way a small hole counts as much as a large one."""
    deep_weight: float = 1.0
    """L_re counts this much in the deep inside of holes, where a blur would be the best guess."""
    gan_loss: str = "minimax"
    """``minimax`` (Eq. 2), ``non-saturating`` (what the generator minimises) or ``hinge``."""
    discriminator: str = "global"
    """``global`` (the paper's), ``patch``, whose target for a filled picture is the mask, or ``projected``,
    the same on AlexNet's features as well."""
    patch_channels: tuple[int, int, int] = (48, 96, 192)
    """Channels of the patch discriminator, of ``projected`` too, at 1/2, 1/4 and 1/8 of the image. Narrower
    than usual: on a CPU the discriminator's every FLOP counts three times, twice over."""
    r1_gamma: float = 0.0
    """Weight of the gradient penalty on real images (Mescheder et al. 2018), taken every 16th step."""
    feature_matching: float = 0.0
    """Weight of the distance of real and filled pictures in the discriminator's features."""
    perceptual: str = ""
    """``lpips_alex`` or ``lpips_vgg``: the result is also drawn to the truth in this distance."""
    lambda_perceptual: float = 0.0
    """Weight of that distance, of the composited result."""
    lambda_ssim: float = 0.0
    """Weight of 1 - SSIM of the composited result."""
    adversarial_start: float = 0.0
    """Share of the budget after which the discriminator joins; 1 leaves it out."""

    # optimisation
    batch_size: int = 16
    """Images per step."""
    learning_rate: float = 1e-4
    discriminator_learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)
    weight_decay: float = 0.0
    """Decoupled (AdamW); 0 is Adam."""
    warmup_images: int = 0
    """The learning rate rises linearly over this many images; a twentieth of the budget if that is less."""
    decay_start: float = 1.0
    """Share of the budget after which the learning rate falls along a half cosine to ``final_rate``."""
    final_rate: float = 0.01
    """Learning rate at the end, as a share of the full one."""
    gradient_clip: float = 1e9
    """Largest norm of the generator's (and the discriminator's) gradient."""
    ema_half_life: float = 0.0
    """Half-life of the weights' moving average, images; 0 uses the last weights."""

    # bookkeeping
    tick_images: int = 4000
    """Images between two status lines (with validation, sample sheet and checkpoint); a tenth of the budget
    if that is less."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)

    def __post_init__(self) -> None:
        """Refuse values no training can run with. Raises TrainingError."""
        from damgan_cli.masks.generate import MASK_KINDS

        _check(  # how many images these are is counted below
            (0 <= self.refined_share < 1, "refined_share must be at least 0 and less than 1"),
            (0 <= self.light_share < 1, "light_share must be at least 0 and less than 1"),
        )
        _check(
            (self.size >= 16 and self.size % 16 == 0, "size must be a multiple of 16"),
            (0 <= self.zoom_share <= 1, "zoom_share must be within 0..1"),
            (
                self.crop_scale == "photo" if isinstance(self.crop_scale, str) else self.crop_scale >= 1,
                "crop_scale is a number of at least 1, or photo",
            ),
            (bool(self.masks) and all(w > 0 for w in self.masks.values()), "masks needs positive shares"),
            (set(self.masks) <= set(MASK_KINDS), f"masks must be among {', '.join(MASK_KINDS)}"),
            (
                self.gan_loss in ("minimax", "non-saturating", "hinge"),
                "gan_loss is minimax, non-saturating or hinge",
            ),
            (
                self.discriminator in ("global", "patch", "projected"),
                "discriminator is global, patch or projected",
            ),
            (
                self.discriminator != "projected" or self.perceptual == "lpips_alex",
                "a projected discriminator needs perceptual=lpips_alex",
            ),
            (
                self.discriminator != "projected" or max(self.r1_gamma, self.feature_matching) == 0,
                "r1_gamma and feature_matching are for a global or patch discriminator",
            ),
            (0 <= self.deep_weight <= 1, "deep_weight must be within 0..1"),
            (
                self.perceptual in ("", "lpips_alex", "lpips_vgg"),
                "perceptual is lpips_alex, lpips_vgg or empty",
            ),
            (not self.perceptual or self.size >= 64, "perceptual needs a size of 64 or more"),
            (bool(self.perceptual) == (self.lambda_perceptual > 0), "perceptual goes with lambda_perceptual"),
            (self.batch_size >= 1, "batch_size must be at least 1"),
            (self.refined_images < self.batch_size, "refined_share leaves no other image in a batch"),
            (
                not self.light_share or self.light_images,
                "light_share is no whole image of a batch, of those not refined (0 goes without)",
            ),
            (self.learning_rate > 0, "learning_rate must be positive"),
            (
                all(weight >= 0 for name, weight in asdict(self).items() if name.startswith("lambda_")),
                "no lambda may be negative",
            ),
            (min(self.r1_gamma, self.feature_matching, self.hole_weight) >= 0, "weights are at least 0"),
            (all(0 <= beta < 1 for beta in self.betas), "betas must lie in [0, 1)"),
            (self.tick_images >= 1, "tick_images must be at least 1"),
            (
                0 <= self.irregular_ratio[0] < self.irregular_ratio[1] <= 1,
                "irregular_ratio must rise within 0..1",
            ),
        )

    @property
    def refined_images(self) -> int:
        """How many images of a batch are refined: the first."""
        return round(self.refined_share * self.batch_size)

    @property
    def light_images(self) -> int:
        """How many images of a batch, the last, are light; some that are not refined either are not."""
        return self.lights(self.light_share)

    def lights(self, share: float) -> int:
        """``light_images`` for another ``light_share``."""
        return int(share * (self.batch_size - self.refined_images))

    @property
    def largest_crop(self) -> float:
        """Side of the largest crop, as a multiple of ``size``."""
        return WHOLE_PHOTO if isinstance(self.crop_scale, str) else self.crop_scale

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dictionary for JSON."""
        return {**asdict(self), "generator": self.generator.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Read ``to_dict``'s dictionary back (lists become tuples)."""
        tidy: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        tidy["generator"] = GeneratorConfig.from_dict(values["generator"])
        return cls(**tidy)

    def with_settings(self, *settings: Mapping[str, Any]) -> TrainingConfig:
        """A copy with fields changed by name; a dictionary for ``generator`` changes fields of it.

        Of several the last counts most, and only together they must make sense. Raises TrainingError for an
        unknown name or a value of another kind.
        """
        values = self.to_dict()
        for name, given in chain.from_iterable(some.items() for some in settings):
            if name not in values:
                raise TrainingError(
                    f"Unknown training setting {name!r}.", f"Use one of: {', '.join(values)}."
                )
            value = given
            if name == "generator" and isinstance(value, dict):
                value = {**values["generator"], **value}
            text = given if isinstance(given, str) else json.dumps(given, default=repr)
            told = f"Bad value for {name}: {text}."
            if name != "crop_scale" and (  # a number or a word
                isinstance(value, (list, tuple)) != isinstance(values[name], (list, tuple))
                or isinstance(value, (str, dict)) != isinstance(values[name], (str, dict))
            ):
                raise TrainingError(told, f"It looks like {json.dumps(values[name])}.")
            if type(values[name]) is int and type(value) is not int:
                raise TrainingError(told, "It is a whole number.")
            values[name] = value
        try:
            return TrainingConfig.from_dict(values)
        except (TypeError, ValueError) as problem:
            raise TrainingError(f"Bad training settings: {problem}.") from problem


def _check(*checks: tuple[object, str]) -> None:
    for ok, message in checks:
        if not ok:
            raise TrainingError(f"Bad training setting: {message}.", "See --set in `damgan train --help`.")


def going_on(
    config: TrainingConfig, learned: Mapping[str, Any], settings: Mapping[str, Any]
) -> TrainingConfig:
    """``config`` with what was ``learned`` before, as of `inherited`, and ``settings``, which count more.

    A batch too small for a light image goes without, unless ``settings`` ask for it. Raises TrainingError.
    """
    without = config.with_settings({**learned, "light_share": 0.0}, settings)
    share = learned["light_share"]
    if "light_share" not in settings and 0 < share < 1 and not without.lights(share):
        return without
    return config.with_settings(learned, settings)


def inherited(weights: Weights) -> dict[str, Any]:
    """Settings that a training from ``weights`` takes over: widths, and what would be unlearned otherwise."""
    learned = weights.info.get("training", {})
    return {
        "generator": weights.generator.config.to_dict(),
        **{name: learned.get(name, 0.0) for name in LEARNED_WAYS},
    }


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as settings: values are JSON, bare words strings. Raises TrainingError."""
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise TrainingError(f"Bad training setting {text!r}.", "Use NAME=VALUE.")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings


PAPER = TrainingConfig()
"""The paper: Eq. 1-4 with its weights, Adam, D from the first step, centred and irregular masks.

Our choices, where it is silent: the batch size, and brush strokes (``freeform``) for its irregular masks.

Learning rate and betas, which the paper does not give, are those of Contextual Attention, whose
discriminator it takes over.
"""

BEST = replace(
    PAPER,
    masks={"center": 0.25, "irregular": 0.65, "freeform": 0.1},
    zoom_share=0.25,
    hole_weight=1.0,
    lambda_ssim=2.0,
    perceptual="lpips_alex",
    lambda_perceptual=2.0,
    gan_loss="hinge",
    discriminator="patch",
    lambda_adv=0.01,
    feature_matching=1.0,
    adversarial_start=0.7,
    learning_rate=2.5e-4,
    discriminator_learning_rate=4e-4,
    betas=(0.5, 0.99),
    weight_decay=0.01,
    warmup_images=3200,
    decay_start=0.5,
    gradient_clip=1.0,
    ema_half_life=4000.0,
    batch_size=8,
    generator=GeneratorConfig(dam_channels=(32, 48, 96, 256)),
)
"""What `scenes` and `faces` ended with; docs/experiments.md says why; its section 5 has `photos`."""

GPU = replace(
    BEST,
    size=256,
    crop_scale="photo",
    zoom_share=0.0,
    masks={"irregular": 0.35, "medium": 0.2, "large": 0.25, "box": 0.15, "center": 0.05},
    deep_weight=0.2,
    lambda_adv=0.85,
    lambda_ssim=0.5,
    discriminator="projected",
    patch_channels=(64, 128, 256),
    feature_matching=0.0,
    adversarial_start=0.0,
    batch_size=32,
    learning_rate=2e-4,
    discriminator_learning_rate=4e-4,
    betas=(0.0, 0.99),
    warmup_images=4_000,
    decay_start=0.35,
    ema_half_life=40_000.0,
    tick_images=100_000,
    generator=replace(BEST.generator, dam_dilations=(2, 4, 16, 8), coarse_scales=(2, 4, 8)),
)
"""What `photos` was trained with on an H200: 386,656 images of 256 px in 750 s, 518 a second, with CUDA
graphs (docs/performance.md).

What differs from `BEST` is for deep holes in sharp photos: whole scenes and native pixels, holes of up to
some 80 px depth, a coarse stage and dilations that see across them, a projected discriminator from the first
image (Sauer et al. 2021) at nearly full weight. The largest gradient norm of 400 steps was
below 13 in all but one case (100); at twice this rate there were means of several hundred.
"""

PRESETS: dict[str, TrainingConfig] = {"paper": PAPER, "best": BEST, "gpu": GPU}
