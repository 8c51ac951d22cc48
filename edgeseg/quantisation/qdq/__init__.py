"""8-bit graphs: QuantizeLinear and DequantizeLinear placed for each backend."""
