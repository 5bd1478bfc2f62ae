"""Have a language model code papers, and verify its quotes.

The language model runs behind an endpoint that the user names. The accuracy of its codings is measured like the
accuracy of a person's codings. No model is trained on the language model's codings unless a person confirmed them.
"""
