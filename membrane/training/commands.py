"""The command of training: `train`; parse, call, show."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from membrane.errors import EngineUnavailable, UsageError
from membrane.terminal.console import View
from membrane.terminal.options import Quiet


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(train)


def train(  # noqa: PLR0913, PLR0917 (each is an option)
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Speech: corpora, or a folder per speaker."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder that the training writes to.")
    ] = None,
    noise: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Noises to speak in, besides synthetic ones.")
    ] = None,
    rooms: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Room responses, besides simulated ones.")
    ] = None,
    without: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Leave out the speakers and files listed.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The numbers of the training, as TOML.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Batches to learn from, instead of the recipe's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The seed of all chance, instead of the recipe's.")
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint whose network is trained further."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the training in --output ended.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Processes that make batches of sound.")
    ] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves for TensorBoard, too.")
    ] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the best network as ONNX.")
    ] = None,
    weights: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="Precision of that file.")
    ] = "float32",
    quiet: Quiet = False,
) -> None:
    """Train an encoder on your own speech.

    To train with two processes: torchrun --nproc-per-node 2 -m membrane train ...
    """
    if not folders:
        raise UsageError("speech to train with is missing: give folders of it")
    if output is None:
        raise UsageError("say where the training writes to: --output DIR")
    if initial is not None and resume:
        raise UsageError("--initial and --resume exclude each other")
    if find_spec("torch") is None:
        raise EngineUnavailable("training needs torch: pip install 'membrane-voice-login[train]'")
    from membrane.training.material import Sources
    from membrane.training.runs import Plan, train_and_export

    train_and_export(
        Plan(
            output=output,
            sources=Sources(
                tuple(folders),
                (noise,) if noise else (),
                (rooms,) if rooms else (),
                without,
            ),
            recipe=recipe,
            steps=steps,
            seed=seed,
            initial=initial,
            resume=resume,
            workers=workers,
            tensorboard=tensorboard,
            export=export,
            weights=weights,
        ),
        View(quiet=quiet),
    )
