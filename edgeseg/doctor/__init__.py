"""Report on this machine and its installed packages."""
