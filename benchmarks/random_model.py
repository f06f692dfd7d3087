"""Models of SmolLM2's shapes with random weights: the speed of a model does not depend on them.

The folder has no weights. vLLM makes them up (``load_format="dummy"``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

SHAPES = {
    "135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
    },
    "1.7B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 8192,
    },
}
"""From the config.json of HuggingFaceTB/SmolLM2-135M and -1.7B."""
_VOCABULARY = 49152
_END = "<|im_end|>"
_CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)


def make_random_model(folder: Path, size: str, texts: Iterable[str]) -> Path:
    """Write the configuration of a model and a tokenizer trained on these texts.

    Parameters
    ----------
    folder
        Made if it is not there.
    size
        One of `SHAPES`.
    texts
        What will be asked: a word or two become a token, as with a tokenizer made for the language.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": _VOCABULARY,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 130000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": 0,
        "eos_token_id": 1,
        **SHAPES[size],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    _write_tokenizer(folder, texts)
    return folder


def _write_tokenizer(folder: Path, texts: Iterable[str]) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<|im_start|>", _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=_END)
    whole.chat_template = _CHAT_TEMPLATE
    whole.save_pretrained(folder)
