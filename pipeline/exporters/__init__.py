"""Writers of foreign formats, one module a format."""
