"""The two trainers: TRL's, with PEFT's LoRA, fed with rows that are tokens already."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.packed import fast_bfloat16
from models.training.recipe import Recipe, RecipeWrong
from models.training.rows import Row, Rows
from models.weights import quiet_bars

NAME = "default"
"""What PEFT calls the adapter that learns."""
POINTS = 200
"""About how many points a curve has."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is; `loss` is that of the steps up to the last noted one, None before the first."""

    step: int
    steps: int
    loss: float | None


Told = Callable[[Progress], None]
Log = list[dict[str, float]]
"""What the trainer noted, in order: `step` with `loss`, `eval_loss`, for DPO `rewards/margins` and others."""


def fit(
    recipe: Recipe, base: Path, tokenizer: Any, train: Rows, test: Rows, run: Path, *, begin: Path | None, told: Told
) -> tuple[Any, Log]:
    """Train an adapter for the checkpoint in `base`; the PEFT model and what was noted.

    Checkpoints are kept below `run`; a training that finds whole ones there goes on from the last, to what it would
    have come to without a break. `begin` is an adapter to begin with, which is the reference of a DPO too.
    """
    import torch

    with warnings.catch_warnings(), quiet_bars():
        warnings.simplefilter("ignore")  # of three libraries, about each other
        torch.manual_seed(recipe.train.seed)
        model = _model(recipe, base, begin)
        trainer = _trainer(recipe, model, tokenizer, train, test, run, adapted=begin is not None)
        _watch(trainer, told)
        trainer.train(resume_from_checkpoint=_last(run))
    return trainer.model, [dict(entry) for entry in trainer.state.log_history]


def check_machine(recipe: Recipe) -> None:
    """Raises `RecipeWrong` for what this machine can't do."""
    import torch

    steps, cuda = recipe.train, torch.cuda.is_available()
    if steps.four_bit and not (cuda and find_spec("bitsandbytes")):
        lacking = "bitsandbytes is not installed" if cuda else "this machine has no CUDA"
        raise RecipeWrong(f"train.four_bit needs CUDA and bitsandbytes; {lacking}. Set it to false.")
    if steps.packing and not (cuda and _flash()):
        raise RecipeWrong(
            "train.packing needs CUDA and flash-attn: without, rows of one sequence read each other. Set it to false."
        )


def _flash() -> bool:
    from transformers.utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available())


def _model(recipe: Recipe, base: Path, begin: Path | None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    steps = recipe.train
    bf16 = steps.precision == "bf16" or (steps.precision == "auto" and fast_bfloat16())
    options: dict[str, Any] = {"dtype": torch.bfloat16 if bf16 else torch.float32, "local_files_only": True}
    if steps.four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    if steps.packing:
        options["attn_implementation"] = "flash_attention_2"
    model = AutoModelForCausalLM.from_pretrained(base, **options)
    if begin is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(begin), is_trainable=True)


def _trainer(recipe: Recipe, model: Any, tokenizer: Any, train: Rows, test: Rows, run: Path, *, adapted: bool) -> Any:
    import datasets
    from peft import LoraConfig
    from trl import DPOConfig, SFTConfig, SFTTrainer

    lora = recipe.lora
    config = None if adapted else LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.targets, bias="none",
        task_type="CAUSAL_LM",
    )  # fmt: skip
    columns = _pair if recipe.method == "dpo" else _talk
    datasets.disable_progress_bars()
    sets = {
        "train_dataset": datasets.Dataset.from_list([columns(row) for row in train.rows]),
        "eval_dataset": datasets.Dataset.from_list([columns(row) for row in test.rows]) if test.rows else None,
    }
    shared: dict[str, Any] = {"model": model, "processing_class": tokenizer, "peft_config": config, **sets}
    if recipe.method == "sft":
        options = SFTConfig(
            **_options(recipe, train, test, run), max_length=recipe.data.context, packing=recipe.train.packing
        )
        return SFTTrainer(args=options, **shared)
    preference = recipe.dpo
    losses: dict[str, Any] = {"loss_type": [preference.loss]}
    if preference.sft:
        losses = {"loss_type": [preference.loss, "sft"], "loss_weights": [1.0, preference.sft]}
    options = DPOConfig(
        **_options(recipe, train, test, run), max_length=recipe.data.context, beta=preference.beta, **losses
    )
    return _pair_trainer()(args=options, **shared)


def _talk(row: Row) -> dict[str, list[int]]:
    return {"input_ids": row.ids, "labels": row.labels}


def _pair(row: Row) -> dict[str, list[int]]:
    return {"prompt_ids": list(row.prompt), "chosen_ids": list(row.reply), "rejected_ids": list(row.rejected)}


def _pair_trainer() -> Any:
    from trl import DPOTrainer

    class PairTrainer(DPOTrainer):  # type: ignore[misc]
        """TRL's, for pairs that are tokens already: it would render them with a template of its own choice."""

        def _prepare_dataset(self, dataset: Any, *_args: Any, **_more: Any) -> Any:
            return dataset

    return PairTrainer


def _options(recipe: Recipe, train: Rows, test: Rows, run: Path) -> dict[str, Any]:
    import torch

    steps = recipe.train
    each = steps.batch * steps.accumulate
    total = steps.steps or max(1, round(len(train.rows) / each * steps.epochs))
    return {
        "output_dir": str(run),
        "num_train_epochs": steps.epochs,
        "max_steps": steps.steps or -1,
        "per_device_train_batch_size": steps.batch,
        "per_device_eval_batch_size": steps.batch,
        "gradient_accumulation_steps": steps.accumulate,
        "learning_rate": steps.rate,
        "lr_scheduler_type": steps.schedule,
        "warmup_steps": steps.warmup,
        "weight_decay": steps.weight_decay,
        "max_grad_norm": steps.grad_norm,
        "seed": steps.seed,
        "gradient_checkpointing": steps.checkpointing,
        "bf16": False,
        "logging_steps": max(1, total // POINTS),
        "eval_strategy": "steps" if test.rows else "no",
        "eval_steps": min(steps.eval_every, total),
        "eval_on_start": bool(test.rows),
        "save_strategy": "steps",
        "save_steps": min(steps.save_every, total),
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def _watch(trainer: Any, told: Told) -> None:
    """Let `told` hear of every step, and nobody else."""
    from transformers import PrinterCallback, TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.loss: float | None = None

        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: Mapping[str, float] | None = None, **_: Any
        ) -> None:
            if logs and "loss" in logs:
                self.loss = logs["loss"]
                told(Progress(state.global_step, state.max_steps, self.loss))

        def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
            # A step whose loss is noted is told then.
            if not control.should_log:
                told(Progress(state.global_step, state.max_steps, self.loss))

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Watch())


def _last(run: Path) -> str | None:
    """The last whole checkpoint; what was being written when a training was killed is removed."""
    whole = []
    for folder in run.glob("checkpoint-*"):
        # The trainer writes this file last.
        if (folder / "trainer_state.json").is_file():
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    return str(max(whole, key=lambda folder: int(folder.name.partition("-")[2]))) if whole else None
