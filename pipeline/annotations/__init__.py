"""What people coded, and importing it from other tools."""
