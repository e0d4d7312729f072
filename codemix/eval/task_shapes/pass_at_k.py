"""pass@k: the chance that at least one of k programs passes, estimated without bias from n >= k samples."""

from __future__ import annotations

from math import comb


def pass_at_k(n: int, passed: int, k: int) -> float:
    """1 - C(n - passed, k) / C(n, k) (Chen et al.
    2021, arXiv 2107.03374, section 2.1), in exact whole numbers.

    >>> pass_at_k(4, 1, 1), pass_at_k(4, 1, 4), pass_at_k(2, 0, 2)
    (0.25, 1.0, 0.0)
    """
    if not 0 <= passed <= n or not 1 <= k <= n:
        raise ValueError(f"need 0 <= passed <= n and 1 <= k <= n, got n={n}, passed={passed}, k={k}")
    failed = n - passed
    choices = comb(n, k)
    all_fail = comb(failed, k) / choices
    return 1 - all_fail
