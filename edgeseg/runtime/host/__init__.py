"""Facts about this machine: processor, memory, GPU, load, power, temperature."""
