"""Ask web services for missing abstracts and identifiers, free full texts, and citations of known papers.

No service is contacted unless the user passed an e-mail address, at which the service can reach the user.
"""
