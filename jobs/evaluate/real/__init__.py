"""The benchmark of real film: places labelled by eye, and what the model does to them."""
