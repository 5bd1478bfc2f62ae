"""Ask a language model to code papers, and check that its quotes are in the text.

The language model runs behind an endpoint that the user names. The accuracy of its codings is measured like the
accuracy of a person's codings. No model is trained on the language model's codings unless a person confirmed them.
"""
