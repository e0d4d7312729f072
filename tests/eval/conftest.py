"""A small decoder with random weights and a byte tokenizer, shared by the tests of evaluation."""

import json

import pytest

SEQ_LEN = 64


def byte_tokenizer_json() -> str:
    """A tokenizers file with one token a byte and `<|endoftext|>` as id 256."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def byte_text(tmp_path_factory):
    from codemix.eval.score import Text

    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(json.dumps(json.loads(byte_tokenizer_json())))
    return Text(path, 256)


@pytest.fixture(scope="session")
def model_spec():
    from codemix.recipe.schema import Model

    return Model(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_head=8, d_ff=48, init_std=0.5, logit_scale=0.5, vocab_multiple=8)


@pytest.fixture(scope="session")
def decoder(model_spec):
    import jax

    from codemix.train.model import init_decoder

    return init_decoder(model_spec, 257, jax.random.key(1))


@pytest.fixture(scope="session")
def engine(decoder, byte_text):
    from codemix.eval.score import Engine

    return Engine(decoder, byte_text, longest=SEQ_LEN)
