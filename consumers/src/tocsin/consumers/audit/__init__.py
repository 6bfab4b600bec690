"""A Merkle log that outsiders can verify with tools that are not ours: RFC 6962 in the formats of C2SP."""
