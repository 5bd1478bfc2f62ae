"""Ask web services for what known records lack: abstracts, identifiers, free full texts and citations.

No service is contacted unless the user passed an e-mail address, at which the service can reach the user.
"""
