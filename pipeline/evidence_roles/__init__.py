"""Read, suggest and tabulate the roles that passages have as evidence, such as context and outcome."""
