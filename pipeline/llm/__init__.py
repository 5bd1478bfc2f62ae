"""Have a language model code papers, as one more coder whose quotes are verified.

The model runs behind an endpoint that the user names. The accuracy of its codings is measured like that of a person's
codings. No model is trained on them unless a person confirmed them.
"""
