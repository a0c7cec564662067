"""The contrastive loss between patches.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def patch_nce(query: Tensor, key: Tensor, temperature: float, hard_negatives: float = 0.0) -> Tensor:
    """The contrastive loss that ties each place of the output to its own of the input (equation 3 of the paper).

    Args:
        query: unit vectors (N, P, size) of places of the outputs.
        key: those of the same places of the inputs. A place's own is its positive, the others of its image are its
            negatives.
        temperature: divides the similarities.
        hard_negatives: beta; with more than 0, a negative of similarity s has a weight in proportion to exp(beta s),
            with a mean of 1 (Robinson et al., 2021, "Contrastive Learning with Hard Negative Samples", section 3.1,
            by similarities without the temperature).

    Returns:
        A scalar.
    """
    similarity = query @ key.mT
    logits = similarity / temperature
    count = similarity.shape[-1]
    if hard_negatives:
        own = torch.eye(count, dtype=torch.bool, device=query.device)
        scores = (hard_negatives * similarity.detach()).masked_fill(own, -torch.inf)
        weights = F.log_softmax(scores, dim=-1) + torch.log(scores.new_tensor(count - 1.0))
        logits = logits + weights.masked_fill(own, 0.0)
    own_places = torch.arange(count, device=query.device).expand(len(query), count)
    return F.cross_entropy(logits.flatten(0, 1), own_places.flatten())
