"""The curves of a training as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CURVES = (
    ("loss", {"loss": "learnt rows", "eval_loss": "rows kept aside"}),
    ("margin", {"rewards/margins": "chosen over rejected", "eval_rewards/margins": "rows kept aside"}),
    ("accuracy", {"rewards/accuracies": "chosen is likelier", "eval_rewards/accuracies": "rows kept aside"}),
)


def points(log: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    """Steps, and what the trainer noted of `name` at them."""
    noted = [(entry["step"], entry[name]) for entry in log if name in entry and "step" in entry]
    return [step for step, _ in noted], [value for _, value in noted]


def ends(log: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """The first and the last value of everything that is drawn, where it was noted."""
    noted = {name: points(log, name)[1] for _, lines in CURVES for name in lines}
    return {name: (values[0], values[-1]) for name, values in noted.items() if values}


def draw(log: Sequence[dict[str, float]], file: Path, *, title: str) -> None:
    """Draw loss, and for a DPO margin and accuracy, over the steps into the PNG `file`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    told = [(word, lines) for word, lines in CURVES if any(points(log, name)[0] for name in lines)]
    figure = Figure(figsize=(5 * max(1, len(told)), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (word, lines) in enumerate(told, 1):
        axes = figure.add_subplot(1, len(told), number)
        for name, label in lines.items():
            steps, values = points(log, name)
            if steps:
                axes.plot(steps, values, label=label, marker="o" if len(steps) < 20 else "")
        axes.set_xlabel("step")
        axes.set_ylabel(word)
        axes.legend()
    figure.suptitle(title)
    figure.savefig(file, dpi=100)
