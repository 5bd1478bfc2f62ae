"""Have a language model code papers, as one more coder whose quotes are verified.

The model runs behind an endpoint that the user names. Its codings are measured like those of a person, and train no
model unless a person confirmed them.
"""
