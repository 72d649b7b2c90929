"""Text to tokens: SentencePiece training, Arrow shards written by Spark, their reader and sampler, prompts, sentences.

Takes the balanced sample and the documents, makes `tokenizer/1` and `shards/1`. Knows nothing of models and training.
"""
