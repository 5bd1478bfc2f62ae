"""From a search export to tagged records."""
