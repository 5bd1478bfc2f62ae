"""Have a language model code papers, and verify its quotes.

The model runs behind an endpoint that the user names. The accuracy of its codings is measured like that of a person's
codings. No model is trained on these codings unless a person confirmed them.
"""
