"""Ask web services about known records: missing abstracts, identifiers, free full texts and citations.

Nothing here contacts a service unless the user passed an e-mail address, by which the service knows who asks.
"""
