"""GLM on megatron-core, its Hugging Face twin, checkpoints and their conversion, the Summarizer, bits per byte.

Takes a `ModelConfig` and a tokenizer's vocabulary size. Knows nothing of corpora, samples or tasks.
Shape suffixes in this package: B batch row, S position in the row, H hidden, V vocabulary, N loss position, L layer.
"""
