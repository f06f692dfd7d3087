"""``pcm_map``: one app over many items, without a batch size."""
