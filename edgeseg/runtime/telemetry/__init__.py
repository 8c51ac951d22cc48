"""What a machine says of its load, temperature and power; None wherever it does not."""
