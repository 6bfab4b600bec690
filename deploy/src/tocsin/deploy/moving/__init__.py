"""The move of an exchange to a new cluster."""
