"""Training: shards and a plan, or examples and a checkpoint, become a checkpoint of a GLM on megatron-core."""
