"""A small decoder with random weights and a byte tokenizer, shared by the tests of evaluation."""

import pytest
from support import byte_store

SEQ_LEN = 64


@pytest.fixture(scope="session")
def byte_text(tmp_path_factory):
    from codemix.eval.engine.text import Text

    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(byte_store.byte_tokenizer_json())
    return Text(path, 256)


@pytest.fixture(scope="session")
def model_spec():
    from codemix.recipe.language.schema import Model

    return Model(
        d_model=32,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        d_head=8,
        d_ff=48,
        init_std=0.5,
        logit_scale=0.5,
        vocab_multiple=8,
    )


@pytest.fixture(scope="session")
def decoder(model_spec):
    import jax

    from codemix.train.model.decoder import init_decoder

    return jax.jit(lambda key: init_decoder(model_spec, 257, key))(jax.random.key(1))


@pytest.fixture(scope="session")
def engine(decoder, byte_text):
    from codemix.eval.engine.score import Engine

    return Engine(decoder, byte_text, longest=SEQ_LEN)
