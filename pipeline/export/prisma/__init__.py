"""Compute the counts of a PRISMA 2020 flow diagram, and draw the diagram."""
