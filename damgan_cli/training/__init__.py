"""Training: ``train`` is its Python face, ``damgan train`` its command."""

from damgan_cli.training.start import TrainingResult, train

__all__ = ["TrainingResult", "train"]
