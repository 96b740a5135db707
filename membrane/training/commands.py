"""The command of training: `train`; parse, call, show."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from membrane.errors import EngineUnavailable, UsageError
from membrane.terminal.console import View
from membrane.terminal.help import Helped
from membrane.terminal.options import Quiet


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(cls=Helped)(train)


def train(  # noqa: PLR0913, PLR0917 (each is an option)
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Speech: corpora, or one folder per speaker."),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write to.")] = None,
    noise: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Noise to add, besides synthetic noise.")
    ] = None,
    rooms: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Room responses to add, besides simulated ones."),
    ] = None,
    without: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Leave out the speakers and files in this list."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Numbers of the training, as TOML.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of batches, instead of the recipe's.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed, instead of the recipe's.")
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Checkpoint to start from."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the training in --output.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Number of processes that prepare batches.")
    ] = 1,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write curves for TensorBoard.")
    ] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the best network as ONNX.")
    ] = None,
    weights: Annotated[
        Literal["float32", "float16", "int8"], typer.Option(help="Precision of the ONNX file.")
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
