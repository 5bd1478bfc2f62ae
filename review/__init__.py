"""The review page: screen, code and reconcile records in a browser, alone or as a team."""
