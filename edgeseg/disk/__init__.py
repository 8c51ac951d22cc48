"""Names, locks and renames that make what is written appear whole or not at all."""
