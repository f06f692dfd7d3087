"""A tiny random Llama for tests, made on the spot: 0.5 MB, no network.

It talks nonsense, but through the same code as any Llama: tokenizer, chat template, KV cache.
"""

from __future__ import annotations

import sys
from pathlib import Path

HEAD_DIM = 32
"""vLLM refuses smaller ones on CPUs."""
NUM_HEADS = 4
CONTEXT_WINDOW = 512

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
_CORPUS = [
    "SUPPORTS REFUTES NOT ENOUGH INFO",
    "The Moon orbits the Earth, and the Earth orbits the Sun.",
    "Copper is a metal; helium is a gas.",
]


def make_tiny_llama(directory: Path, seed: int = 0) -> Path:
    """Write the model and its tokenizer to a directory, and return it; needs transformers."""
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(directory)
    _model(len(tokenizer), seed).save_pretrained(directory)
    return directory


def _tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bytes_to_tokens = Tokenizer(models.BPE())
    bytes_to_tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_to_tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bytes_to_tokens.train_from_iterator(_CORPUS * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_to_tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def _model(vocabulary: int, seed: int):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=NUM_HEADS * HEAD_DIM,
        head_dim=HEAD_DIM,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=NUM_HEADS,
        num_key_value_heads=NUM_HEADS // 2,
        max_position_embeddings=CONTEXT_WINDOW,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).to(torch.bfloat16)


if __name__ == "__main__":
    make_tiny_llama(Path(sys.argv[1]))
