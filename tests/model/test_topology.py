import pytest

from core.errors import MGLMError
from model.config import ModelConfig
from model.topology import Topology

TINY = ModelConfig(preset="tiny")  # 4 layers, hidden 128, 4 heads


def test_data_parallelism_fills_the_processes() -> None:
    assert Topology(tensor=2, pipeline=2).check(TINY, 512, 12) == 3


@pytest.mark.parametrize(
    ("topology", "vocab_size", "world_size", "words"),
    [
        (Topology(tensor=2, pipeline=2), 512, 6, "tensor 2 × pipeline 2 = 4"),
        (Topology(tensor=3), 384, 3, "num_attention_heads 4 under tensor parallelism 3"),
        (Topology(tensor=4), 510, 4, "the vocabulary 510 under tensor parallelism 4"),
        (Topology(pipeline=3), 512, 3, "num_layers 4 under pipeline parallelism 3"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused_with_its_numbers(
    topology: Topology, vocab_size: int, world_size: int, words: str
) -> None:
    with pytest.raises(MGLMError, match=words):
        topology.check(TINY, vocab_size, world_size)
