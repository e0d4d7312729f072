"""Scores written out plainly, one sequence at a time, for comparison with the engine's."""

import jax
import numpy as np

from codemix.train.model.decoder import hidden, logits


@jax.jit
def _logits(model, tokens):
    return logits(model, hidden(model, tokens))


def every_logit(model, tokens):
    """Logits [T, V] of one sequence, padded on the right (which a causal model cannot see) so that it
    compiles once.
    """
    padded = np.zeros((1, max(128, 1 << (len(tokens) - 1).bit_length())), np.int32)
    padded[0, : len(tokens)] = tokens
    return np.asarray(_logits(model, padded))[0, : len(tokens)].astype(np.float64)


def plainly(model, context, continuation):
    """(sum of log p, all greedy) of a continuation: every logit of the one sequence, in float64."""
    scores = every_logit(model, [*context, *continuation][:-1])[:, :257]
    table = (
        scores
        - np.log(np.exp(scores - scores.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - scores.max(-1, keepdims=True)
    )
    at = np.arange(len(context) - 1, len(context) + len(continuation) - 1)
    return table[at, continuation].sum(), bool((scores[at].argmax(-1) == continuation).all())


def greedily(model, context, n):
    ids = list(context)
    for _ in range(n):
        ids.append(int(every_logit(model, ids)[-1].argmax()))
    return ids[len(context) :]
