"""Live sources, and several sources as one."""
