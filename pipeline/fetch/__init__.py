"""Ask web services for missing abstracts, missing identifiers, free full texts, and citations of known papers.

Requests are sent only if the user passed an e-mail address, at which the services can reach the user.
"""
