"""Many models: an independent choice for every group of series, in pieces that are as large as memory allows."""
