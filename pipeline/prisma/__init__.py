"""The PRISMA 2020 flow diagram."""
