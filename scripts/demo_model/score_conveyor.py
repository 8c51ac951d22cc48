"""Score a conveyor checkpoint, as shipped, on scenes that training never uses."""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch
from conveyor_model import build_model
from conveyor_score import score_model
from safetensors.torch import load_file

from edgeseg.demo.parts import PART_NAMES
from edgeseg.demo.score import unseen_frames


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--test-images", default=100, show_default=True, help="Unseen frames, one a scene.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
def main(checkpoint: Path, test_images: int, threads: int) -> None:
    """Print COCO average precision of CHECKPOINT as JSON, overall and for each class.

    Example: python scripts/demo_model/score_conveyor.py edgeseg/demo/conveyor.safetensors
    """
    torch.set_num_threads(threads)
    model = build_model(len(PART_NAMES) + 1)
    model.load_state_dict({name: value.float() for name, value in load_file(checkpoint).items()})
    scores = score_model(model, unseen_frames(test_images))
    click.echo(json.dumps({name: round(value, 4) for name, value in scores.items()}, indent=2))


if __name__ == "__main__":
    main()
