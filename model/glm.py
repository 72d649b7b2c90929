"""GLM on megatron-core: blank infilling with a prefix mask, two position tables and a tied head (paper, section 3.1).

Takes token ids with their 2D positions, makes logits or losses. Knows nothing of how samples are cut.
"""

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import tensor_parallel
from megatron.core.models.common.language_module.language_module import LanguageModule
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.transformer.enums import ModelType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_block import TransformerBlock
from torch import Tensor

from model.attention import Backend, mask_for
from model.head import head_losses
from model.layers import block_spec

IGNORED_LABEL = -100


class GLMEmbedding(MegatronModule):
    """Word + position + position within the span, then dropout: [B, S] ids and [B, 2, S] positions → [S, B, H].

    With sequence parallelism each tensor-parallel rank gets its part of S.
    """

    def __init__(self, config: Any, vocab_size: int, max_positions: int, tensor_group: Any) -> None:
        super().__init__(config)
        self.tensor_group = tensor_group
        self.word_embeddings = tensor_parallel.VocabParallelEmbedding(
            vocab_size, config.hidden_size, init_method=config.init_method, config=config, tp_group=tensor_group
        )
        where = {"device": torch.cuda.current_device(), "dtype": config.params_dtype}
        self.position_embeddings = torch.nn.Embedding(max_positions, config.hidden_size, **where)
        self.block_position_embeddings = torch.nn.Embedding(max_positions, config.hidden_size, **where)
        self.dropout = torch.nn.Dropout(config.hidden_dropout)

    def forward(self, input_ids_BS: Tensor, position_ids_B2S: Tensor) -> Tensor:
        hidden_BSH = (
            self.word_embeddings(input_ids_BS)
            + self.position_embeddings(position_ids_B2S[:, 0])
            + self.block_position_embeddings(position_ids_B2S[:, 1])
        )
        hidden_SBH = hidden_BSH.transpose(0, 1).contiguous()
        if not self.config.sequence_parallel:
            return self.dropout(hidden_SBH)
        hidden_SBH = tensor_parallel.scatter_to_sequence_parallel_region(hidden_SBH, group=self.tensor_group)
        with tensor_parallel.get_cuda_rng_tracker().fork():  # each rank has other positions, so other noise
            return self.dropout(hidden_SBH)


class TiedHead(tensor_parallel.ColumnParallelLinear):
    """The head with the word embeddings' weight, its own copy where they lie on another pipeline stage.

    It is called as a module, for megatron awaits an update's weights, which it gathers during the forward pass, before
    the module that they belong to.
    """

    def forward(
        self,
        hidden: Tensor,
        weight_VH: Tensor,
        labels_N: Tensor | None = None,
        label_smoothing: float = 0.0,
        chunk: int = 1,
    ) -> Tensor:
        """Logits [..., V / tensor] of hidden states [..., H]; with labels, losses [N] of [N, H]."""
        if labels_N is None:
            return F.linear(hidden, weight_VH)
        return head_losses(hidden, weight_VH, labels_N, label_smoothing, self.tp_group, chunk)


class GLMModel(LanguageModule):
    """One chunk of GLM: a pipeline stage or, interleaved, one of its parts; the whole model when there is one stage.

    The head and the cross-entropy run on positions with a label alone: at a vocabulary of 250k the head costs as
    much as 13 layers, and blank infilling scores a quarter of the positions.
    """

    def __init__(
        self,
        config: Any,
        vocab_size: int,
        max_positions: int,
        *,
        backend: Backend = "sdpa",
        head_chunk: int = 1024,
        pre_process: bool = True,
        post_process: bool = True,
        virtual_stage: int | None = None,
    ) -> None:
        super().__init__(config, ProcessGroupCollection.use_mpu_process_groups())
        self.model_type = ModelType.encoder_or_decoder
        self.vocab_size, self.max_positions = vocab_size, max_positions
        self.backend, self.head_chunk = backend, head_chunk
        self.frozen_layers = 0  # topmost ones of the whole model that are not trained
        self.pre_process, self.post_process, self.vp_stage = pre_process, post_process, virtual_stage
        self.share_embeddings_and_output_weights = True
        if pre_process:
            self.embedding = GLMEmbedding(config, vocab_size, max_positions, self.pg_collection.tp)
        self.decoder = TransformerBlock(
            config,
            block_spec(config, backend, virtual_stage),
            pre_process=pre_process,
            post_process=post_process,
            pg_collection=self.pg_collection,
            vp_stage=virtual_stage,
        )
        if post_process:
            self.output_layer = TiedHead(
                config.hidden_size,
                vocab_size,
                config=config,
                init_method=config.init_method,
                bias=False,
                gather_output=False,
                skip_weight_param_allocation=pre_process,  # tied: the stage that embeds lends its weight
                tp_group=self.pg_collection.tp,
            )
        if pre_process or post_process:
            self.setup_embeddings_and_output_layer()

    def set_input_tensor(self, input_tensor: Any) -> None:
        """Takes the previous stage's hidden states; called by megatron's pipeline schedule."""
        self.decoder.set_input_tensor(input_tensor[0] if isinstance(input_tensor, list) else input_tensor)

    def forward(
        self,
        input_ids_BS: Tensor,
        position_ids_B2S: Tensor,
        context_length_B: Tensor,
        labels_BS: Tensor | None = None,
        segment_ids_BS: Tensor | None = None,
        label_smoothing: float = 0.0,
        read_B: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, S, V / tensor] without labels; with labels, losses [N] of the N positions that have one.

        With `read_B`, logits [B, V / tensor] of one position of each row. The label −100 means none. Losses are fp32,
        natural log, in row-major order of [B, S]. A stage that is not the last returns hidden states [S, B, H].
        """
        length = input_ids_BS.shape[1]
        mask_length, padding = length, 0
        if self.config.sequence_parallel:
            padding = -length % self.pg_collection.tp.size()  # each rank holds an equal part of the sequence
            input_ids_BS, position_ids_B2S = F.pad(input_ids_BS, (0, padding)), F.pad(position_ids_B2S, (0, padding))
            if segment_ids_BS is not None:
                segment_ids_BS = F.pad(segment_ids_BS, (0, padding), value=-1)
            mask_length += padding
        hidden_SBH = self.embedding(input_ids_BS, position_ids_B2S) if self.pre_process else None
        mask = mask_for(self.backend, context_length_B, mask_length, segment_ids_BS)
        hidden_SBH = self.decoder(hidden_SBH, attention_mask=mask)
        if not self.post_process:
            return hidden_SBH
        hidden_BSH = self._whole(hidden_SBH)[:length].transpose(0, 1)
        weight_VH = self.shared_embedding_or_output_weight()
        if read_B is not None:
            hidden_BSH = hidden_BSH[torch.arange(len(read_B), device=read_B.device), read_B]
        elif labels_BS is not None:
            rows_N, places_N = (labels_BS != IGNORED_LABEL).nonzero(as_tuple=True)  # a GPU is waited for here, once
            labels_N = labels_BS[rows_N, places_N]
            return self.output_layer(
                hidden_BSH[rows_N, places_N], weight_VH, labels_N, label_smoothing, self.head_chunk
            )
        return self.output_layer(hidden_BSH, weight_VH)

    def _whole(self, hidden_SBH: Tensor) -> Tensor:
        """All positions on every tensor-parallel rank; backward, the ranks' gradients are added up."""
        group = self.pg_collection.tp
        if self.config.sequence_parallel:
            return tensor_parallel.gather_from_sequence_parallel_region(hidden_SBH, True, group)
        return tensor_parallel.copy_to_tensor_model_parallel_region(hidden_SBH, group)
