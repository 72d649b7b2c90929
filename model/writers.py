"""A model in memory into a directory: an hf/1 export, or a checkpoint/1 directory that training can begin with."""

from pathlib import Path

from model.checkpoint_meta import CHECKPOINTS_NAME, TOKENIZER_NAME
from model.cpu import cpu_runtime
from model.execution import PRECISION_OF_DTYPE, Execution
from model.export import write_export
from model.readers import LoadedModel
from model.topology import Topology
from model.weights import WORD_EMBEDDINGS, hf_to_megatron


def write_megatron(output: Path, loaded: LoadedModel) -> int:
    """Writes checkpoints/step-00000000 (weights alone) and tokenizer/; returns the number of parameters."""
    with cpu_runtime():
        from model.checkpoint import save_checkpoint
        from model.parallel import build_stages, initialize, shut_down

        initialize(Topology(), seed=0)
        try:
            precision = PRECISION_OF_DTYPE[str(loaded.weights[WORD_EMBEDDINGS].dtype).removeprefix("torch.")]
            (stage,) = build_stages(loaded.model, loaded.vocab_size, Topology(), Execution(precision=precision))
            state = hf_to_megatron(loaded.weights, loaded.model.num_attention_heads)
            stage.load_state_dict({**stage.state_dict(), **state})
            meta = {
                "step": 0,
                "samples": 0,
                "model": loaded.model.model_dump(),
                "vocab_size": loaded.vocab_size,
                "tokenizer_sha256": loaded.tokenizer.sha256,
                "training": {"source_length": loaded.source_length, "target_length": loaded.target_length},
            }
            save_checkpoint(output / CHECKPOINTS_NAME, [stage], None, None, meta)
        finally:
            shut_down()
    loaded.tokenizer.save(output / TOKENIZER_NAME)
    return sum(weight.numel() for weight in loaded.weights.values())


WRITERS = {"hf": write_export, "megatron": write_megatron}
