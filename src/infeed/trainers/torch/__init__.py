"""Everything that touches PyTorch: batches as tensors, and a `DataLoader` of them."""
