"""Checkpoints and LoRA adapters that tests make for themselves: random, but large enough to change what is said."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def tiny_base(folder: Path, tokenizer: Path, **config: Any) -> Path:
    """A random Llama in float32 with the tokenizer of the checkpoint in `tokenizer`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    sizes: dict[str, Any] = {
        "vocab_size": 49152, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
        "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**sizes | config)).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copyfile(tokenizer / name, folder / name)
    return folder


def random_adapter(base: Path, folder: Path, *, strength: float = 0.1, seed: int = 0, **config: Any) -> Path:
    """An adapter for the checkpoint in `base` as PEFT saves it. Every number that training would change is random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True)
        settings: dict[str, Any] = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
        adapted = get_peft_model(model, LoraConfig(**settings | config))
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data += torch.randn_like(parameter) * strength
        adapted.save_pretrained(str(folder))
    return folder


def small_adapter(folder: Path, alpha: int = 4) -> Path:
    """An adapter for nothing that exists, of two small tensors: for who only carries adapters about."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": alpha, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "smollm2"}), "utf-8")
    place = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{place}.lora_A.weight": np.ones((2, 8), "f4"), f"{place}.lora_B.weight": np.ones((8, 2), "f4")}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def rewrite(file: Path, **fields: Any) -> None:
    """Change fields of a JSON file; None takes one away."""
    content = json.loads(file.read_text("utf-8")) | fields
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), "utf-8")
