"""Training on a GPU that is lent for minutes: steps as CUDA graphs, photos that arrive while it trains.

    python examples/gpu_train.py WORK --init photos --perceptual-weights lpips --minutes 9

Needs WORK/packs/masks.npz and waits for tars in WORK/packs, all from `gpu_session.py pack`; move them there
whole. `gpu_session.py train` starts it so that it goes on while further calls bring packs and take home what
lies in WORK/out, in files of at most 16 MiB, new every tenth of the time: weights (the moving average; at the
end those of WORK/run), D.pt (for --discriminator of the next training) and sheet.png. WORK/run is as of
`damgan train`.

`photos` was trained on an H200 by the first form of this script, 518 images of 256 px a second, where the
same steps without graphs make 385 (docs/performance.md). Tidied since, with `Trainer` instead of a loop of
its own, it has run on a CPU only.

A graph repeats the very operations it was made of: what a step draws at random must be drawn on the device,
in shapes that never vary. So crops are drawn there, and their scales are those of some graphs in turn.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # it may not be installed

from damgan_cli import __version__
from damgan_cli.evaluation.features import load_lpips
from damgan_cli.training.adversary import ProjectedDiscriminator
from damgan_cli.training.config import PRESETS, WEIGHTS, TrainingConfig, going_on, inherited, parse_settings
from damgan_cli.training.device_data import DeviceBatches
from damgan_cli.training.loop import Trainer
from damgan_cli.training.objective import Term
from damgan_cli.training.run import run
from damgan_cli.training.schedule import Budget, learning_rate
from damgan_cli.training.validation import Validation
from damgan_cli.weights.find import load_weights
from damgan_cli.weights.folder import save_weights

VALIDATION = 24
"""Photos of the first pack: no measure of other photos, as they are trained on too."""
VIEWS = 10
_JUDGED = 8  # px that the discriminator's crop is smaller than the picture, as in training/adversary.py


class ArrivingPhotos(DeviceBatches):
    """Batches of photos on the device, of which more come all the time; none smaller than a crop."""

    def __init__(self, config: TrainingConfig, packs: Path, device: torch.device, *, pixels: int) -> None:
        """``pixels``: room for that many on the device, 3 bytes each."""
        self.config, self.device, self.packs, self.photos = config, device, packs, ()
        self._pixels = torch.empty((pixels, 3), dtype=torch.uint8, device=device)
        self._places = torch.zeros(
            (1 << 18, 3), dtype=torch.long, device=device
        )  # height, width, first pixel
        self.count = self._end = 0
        self._taken: set[Path] = set()
        self.lock = threading.Lock()
        """Held while anything is copied to the device, which must not happen while a graph is made."""
        with np.load(packs / "masks.npz") as bank:
            bits = [np.unpackbits(bank[kind], axis=-1) for kind in config.masks]
        if bits[0].shape[1] != config.size**2:
            sys.exit(f"{packs / 'masks.npz'} is for another size (gpu_session.py pack --size {config.size}).")
        kinds = [torch.from_numpy(masks.reshape(-1, config.size, config.size)).to(device) for masks in bits]
        counts = torch.tensor([len(masks) for masks in kinds], device=device)
        self._masks, self._mask_counts = torch.cat(kinds), counts  # (N, S, S) uint8
        self._mask_starts = counts.cumsum(0) - counts
        self._shares = torch.tensor(list(config.masks.values()), device=device)

    def watch(self) -> None:
        """Take up what comes, for ever; run in a thread of its own."""
        while True:
            self.take_new()
            time.sleep(0.3)

    def take_new(self) -> list[Any]:
        """Take up the packs that have come since; returns their photos. What cannot be read is left out."""
        photos = []
        for path in sorted(self.packs.glob("*.tar")):
            if path not in self._taken:
                try:
                    photos += self.take(path)
                except Exception as problem:  # noqa: BLE001  # the training goes on with what it has
                    print(f"{path.name} is left out: {problem!r}", flush=True)
        return photos

    def take(self, path: Path) -> list[Any]:
        """Photos of one pack to the device, as far as there is room; returns them, (H, W, 3) uint8."""
        self._taken.add(path)
        with tarfile.open(path) as archive, ThreadPoolExecutor() as pool:
            files = [archive.extractfile(member).read() for member in archive]  # type: ignore[union-attr]
            photos = list(pool.map(decoded, files))
        starts = self._end + np.cumsum([0, *(photo.shape[0] * photo.shape[1] for photo in photos)])
        fitting = int(np.searchsorted(starts, len(self._pixels), side="right")) - 1
        if not fitting:
            print(f"{path.name}: there is no room for more", flush=True)
            return photos
        places = [[*photo.shape[:2], start] for photo, start in zip(photos, starts.tolist(), strict=False)]
        flat = np.concatenate([photo.reshape(-1, 3) for photo in photos])[: starts[fitting] - self._end]
        with self.lock:
            self._pixels[self._end : starts[fitting]] = torch.from_numpy(flat).to(self.device)
            self._places[self.count : self.count + fitting] = torch.tensor(places[:fitting]).to(self.device)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
        self._end, self.count = int(starts[fitting]), self.count + fitting
        print(f"{path.name}: {self.count:,} photos", flush=True)
        return photos

    def tensors(self, step: int, device: torch.device) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """As of `DeviceBatches`, but of what is there so far, drawn by the device's own generator."""
        size, B = self.config.size, self.config.batch_size
        drawn = torch.rand(8, B, device=self.device)
        heights, widths, starts = self._places[(drawn[0] * self.count).long()].unbind(1)
        sides = (size * (torch.minimum(heights, widths) / size) ** drawn[1]).round()
        tops, lefts = (drawn[2] * (heights - sides + 1)).floor(), (drawn[3] * (widths - sides + 1)).floor()
        images = self._cut(starts, widths, tops, lefts, sides, drawn[4] < 0.5)
        kinds = torch.multinomial(self._shares, B, replacement=True)
        masks = self._masks[self._mask_starts[kinds] + (drawn[5] * self._mask_counts[kinds]).long()]
        masks = torch.where((drawn[6] < 0.5)[:, None, None], masks.flip(2), masks)
        masks = torch.where((drawn[7] < 0.5)[:, None, None], masks.transpose(1, 2), masks)
        return images.contiguous(memory_format=torch.channels_last), masks[:, None].float()


def decoded(data: bytes) -> Any:
    """A photo (H, W, 3) uint8."""
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def cut(images: tuple[Tensor, ...], side: int, *, transposed: bool) -> list[Tensor]:
    """The same square of several (B, C, S, S), mirrored or not, drawn on their device."""
    room = images[0].shape[-1] - side
    drawn = torch.rand(3, device=images[0].device)
    along = torch.arange(side, device=images[0].device)
    rows = along + (drawn[0] * (room + 1)).long()
    columns = torch.where(drawn[1] < 0.5, side - 1 - along, along) + (drawn[2] * (room + 1)).long()
    found = [image.index_select(2, rows).index_select(3, columns) for image in images]
    return [image.transpose(2, 3) for image in found] if transposed else found


class View(NamedTuple):
    """What a graph's networks are shown of the pictures."""

    side: int
    """Of LPIPS' crop, px."""
    target: int
    """What it is scaled to, px."""
    transposed: bool
    judged_transposed: bool
    """Of the discriminator's crop."""


class GraphTrainer(Trainer):
    """A `Trainer` whose steps, of both networks, are ``graphs`` CUDA graphs in turn; on a CPU, just steps."""

    def __init__(self, *arguments: Any, graphs: int) -> None:
        super().__init__(*arguments)
        self._batch = self.batches.tensors(0, self.device)
        self._told: dict[str, Tensor] = {}
        rng = np.random.default_rng(self.seed)
        size, views = self.config.size, graphs or VIEWS
        sides = size - rng.integers(size // 8, size=views)
        targets = (sides * rng.uniform(0.75, 1.25, views)).round().astype(int)
        self._views = [
            View(*values) for values in zip(sides, targets, *rng.random((2, views)) < 0.5, strict=True)
        ]
        self._graphs: list[torch.cuda.CUDAGraph] = []
        self._order = rng

    def _adam(self, module: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
        if self.device.type == "cpu":
            return super()._adam(module, rate)
        told = torch.tensor(rate, device=self.device)  # a graph reads the rate of the moment
        return torch.optim.AdamW(
            module.parameters(), told, self.config.betas, weight_decay=self.config.weight_decay,
            fused=True, capturable=True,
        )  # fmt: skip

    def _set_rates(self) -> None:
        share = learning_rate(self.config, self.images, self.progress)
        for optimizer, rate in (
            (self.optimizer_G, self.config.learning_rate),
            (self.optimizer_D, self.config.discriminator_learning_rate),
        ):
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(share * rate)
                else:
                    group["lr"] = share * rate

    def train_step(self) -> dict[str, Tensor]:
        """As of `Trainer`, with the discriminator from the first step and without R1."""
        self._set_rates()
        for here, new in zip(self._batch, self.batches.tensors(self.step, self.device), strict=True):
            here.copy_(new)
        number = int(self._order.integers(len(self._views)))
        if self._graphs:
            self._graphs[number].replay()
        else:
            self._told = self._step(self._views[number])
        self.step += 1
        keep = 0.5 ** (self.config.batch_size / min(self.config.ema_half_life, 0.3 * self.images))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.G.parameters()), 1 - keep)
        return self._told

    def _step(self, view: View) -> dict[str, Tensor]:
        config, (truth, mask) = self.config, self._batch
        if isinstance(self.D, ProjectedDiscriminator):
            self.D.views = lambda *images: cut(
                images, config.size - _JUDGED, transposed=view.judged_transposed
            )  # type: ignore[method-assign]
        fake, losses = self._fill(truth, mask)
        weights = {"re": config.lambda_re, "dam": config.lambda_dam, "ssim": config.lambda_ssim}
        terms = {name: Term(weights[name], loss) for name, loss in losses.items()}
        with self._autocast():
            if self.perceptual is not None:
                seen = cut((fake, truth), view.side, transposed=view.transposed)
                pair = [
                    F.interpolate(image, size=(view.target, view.target), mode="bilinear") for image in seen
                ]
                terms["lpips"] = Term(config.lambda_perceptual, self.perceptual(*pair).mean())
            judged, views = self.adversary.generator_terms(truth, fake, mask)
        told = self._descend("G", self.G, self.optimizer_G, terms | judged)
        with self._autocast():
            terms = self.adversary(truth, fake, mask, views=views)
        return told | self._descend("D", self.D, self.optimizer_D, terms)

    def make_graphs(self, lock: threading.Lock) -> None:
        """One step of each view as it is, which a graph needs before it, then their graphs."""
        pool = None
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for view in self._views:
                self._set_rates()
                self._told = self._step(view)  # where all graphs will tell
        torch.cuda.current_stream().wait_stream(stream)
        with lock:
            torch.cuda.synchronize()
            for view in self._views:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                    for name, value in self._step(view).items():
                        self._told[name].copy_(value)
                pool = pool or graph.pool()
                self._graphs.append(graph)


def constants_once() -> None:
    """Have tensors of constants made once: in a graph nothing can be copied from the host."""
    make, made = Tensor.new_tensor, {}

    def new_tensor(self: Tensor, values: Any, **options: Any) -> Tensor:
        key = (repr(values), self.device, self.dtype)
        if key not in made:
            made[key] = make(self, values, **options)
        return made[key]

    Tensor.new_tensor = new_tensor  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--init", required=True, help="weights to start from")
    parser.add_argument("--discriminator", type=Path, help="D.pt of an earlier training")
    parser.add_argument("--perceptual-weights", type=Path)
    parser.add_argument("--preset", default="gpu")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--graphs", type=int, default=VIEWS, help="0: steps one by one")
    parser.add_argument("--pixels", type=int, default=2_600_000_000, help="room for photos, 3 bytes a pixel")
    args = parser.parse_args()

    out = args.work / "out"
    out.mkdir(parents=True, exist_ok=True)
    settings, start = parse_settings(args.set), load_weights(args.init)
    config = going_on(PRESETS[args.preset], inherited(start), settings)
    device, packs = torch.device(args.device), args.work / "packs"
    constants_once()
    perceptual = load_lpips(config.perceptual, args.perceptual_weights) if config.perceptual else None
    batches = ArrivingPhotos(config, packs, device, pixels=args.pixels)
    while not (photos := batches.take_new()):
        time.sleep(0.3)
    validation = Validation(photos[:VALIDATION], config.size)
    budget = Budget(None, args.minutes)
    trainer = GraphTrainer(config, batches, device, 0, budget, perceptual, graphs=args.graphs)
    trainer.start_from(start.generator)
    if args.discriminator:
        state = torch.load(args.discriminator, map_location="cpu", weights_only=True)
        trainer.D.load_state_dict({name: value.float() for name, value in state.items()})
    threading.Thread(target=batches.watch, daemon=True).start()
    if device.type == "cuda" and args.graphs:
        try:
            trainer.make_graphs(batches.lock)
        except Exception as problem:  # noqa: BLE001  # steps one by one are better than none
            print(f"No graphs can be made: {problem!r}. The same without:", flush=True)
            # anew, as torch stays half captured
            os.execv(sys.executable, [sys.executable, *sys.argv, "--graphs", "0"])
    info: dict[str, Any] = {
        "name": args.work.name,
        "damgan_version": __version__,
        "preset": args.preset,
        "data": ["packs"],
        "photos": batches.count,  # so far
        "validation_photos": VALIDATION,
        "init": args.init,
        "seed": trainer.seed,
        "training": config.to_dict(),
    }

    def take_home(line: str) -> None:
        print(line, flush=True)
        save_weights(out / "weights", trainer.ema, info, "Weights of an unfinished training.\n")
        halves = {name: value.half() for name, value in trainer.D.state_dict().items()}
        torch.save(halves, out / ".D.pt")
        (out / ".D.pt").rename(out / "D.pt")
        for sheet in sorted((args.work / "run" / "sheets").glob("*.png"))[-1:]:  # the tick before
            shutil.copy(sheet, out / "sheet.png")

    run(trainer, args.work / "run", validation, info, take_home)
    shutil.copytree(args.work / "run" / WEIGHTS, out / ".weights")
    shutil.rmtree(out / "weights")
    (out / ".weights").rename(out / "weights")
    print("The weights are those of the whole training.", flush=True)


if __name__ == "__main__":
    main()
