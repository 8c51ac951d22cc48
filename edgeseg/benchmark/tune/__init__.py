"""Which size, proposals, precision and threads make a model fast enough and still accurate enough."""
