"""Names for the arrays that many functions take.

Shapes carry one letter per dimension, here and wherever arrays are: B rows, T positions of a row, L layers, D
d_model, K key-value heads, G query heads per key-value head, H d_head, F d_ff, V rows of the embedding (the
vocabulary and its padding).
"""

from jaxtyping import Array, Float, Int, Key

Ids = Int[Array, "B T"]
Positions = Int[Array, "B T"]
Segments = Int[Array, "B T"]  # documents of a row, numbered
Weights = Float[Array, "B T"]  # of the positions in the loss
States = Float[Array, "B T D"]
Queries = Float[Array, "B T K G H"]  # and what they attend to
Keys = Float[Array, "B T K H"]
Values = Float[Array, "B T K H"]
Table = Float[Array, "V D"]  # an embedding
RowKeys = Key[Array, " B"]  # random keys, one per row
Scalar = Float[Array, ""]
Index = Int[Array, ""]
