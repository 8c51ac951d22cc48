"""Which layers compute in 8 bits, and what that costs."""
